-- What happens to accounts before the user is known, and what the user may change of theirs.
-- An error of a constraint would show the row that it refuses, to the server's log as well: the address, and what was given for a hash.
CREATE FUNCTION auth.check_password_hash(given text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF given ~ '^[$][a-z0-9-]{1,32}[$][!-~]+$' AND length(given) <= 512 THEN
        RETURN given;
    END IF;
    RAISE EXCEPTION 'what was given is no password hash in PHC form, as $argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>: hash the password first'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'users_password_hash_form';
END;
$$;
COMMENT ON FUNCTION auth.check_password_hash(text) IS 'The hash, where it has PHC form; an error that does not show it, where it has not.';

CREATE FUNCTION auth.check_email(given text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF given LIKE '_%@_%' AND length(given) <= 254 THEN
        RETURN lower(given);
    END IF;
    RAISE EXCEPTION 'what was given is no e-mail address' USING ERRCODE = 'check_violation', CONSTRAINT = 'users_email_lower';
END;
$$;
COMMENT ON FUNCTION auth.check_email(text) IS 'The address in lower case; an error that does not show it, where it is none.';
REVOKE EXECUTE ON FUNCTION auth.check_password_hash(text), auth.check_email(text) FROM auth_app;
GRANT EXECUTE ON FUNCTION auth.check_password_hash(text), auth.check_email(text) TO auth_definer;

CREATE FUNCTION auth.register_user(new_email text, new_password_hash text) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO auth.users (email, password_hash) VALUES (auth.check_email(new_email), auth.check_password_hash(new_password_hash)) ON CONFLICT (email) DO NOTHING RETURNING user_id
$$;
COMMENT ON FUNCTION auth.register_user(text, text) IS 'Makes a pending account and returns its user; NULL where the address has one already.';
ALTER FUNCTION auth.register_user(text, text) OWNER TO auth_definer;

CREATE FUNCTION auth.find_account(wanted_email text) RETURNS TABLE (user_id uuid, status text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT u.user_id, u.status FROM auth.users u WHERE u.email = lower(wanted_email)
$$;
COMMENT ON FUNCTION auth.find_account(text) IS 'Whose address it is, so that the service can issue a reset link as that user. It tells nothing secret.';
ALTER FUNCTION auth.find_account(text) OWNER TO auth_definer;

-- Of the links to verify an address, the one of the account's own stays: it gives nobody anything.
CREATE FUNCTION auth.void_links(of_user uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE auth.password_reset_tokens SET used_at = now() WHERE user_id = of_user AND used_at IS NULL;
    UPDATE auth.email_verification_tokens v SET used_at = now() FROM auth.users u
    WHERE v.user_id = of_user AND v.used_at IS NULL AND u.user_id = v.user_id AND u.email <> v.email;
$$;
COMMENT ON FUNCTION auth.void_links(uuid) IS 'Ends the links with which somebody else could still take an account over. For the functions beside it alone.';
REVOKE EXECUTE ON FUNCTION auth.void_links(uuid) FROM auth_app;
ALTER FUNCTION auth.void_links(uuid) OWNER TO auth_definer;

CREATE FUNCTION auth.reset_password(presented_hash bytea, new_password_hash text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner uuid;
    new_hash CONSTANT text := auth.check_password_hash(new_password_hash);
BEGIN
    UPDATE auth.password_reset_tokens SET used_at = now()
    WHERE token_hash = presented_hash AND used_at IS NULL AND expires_at > now() RETURNING user_id INTO owner;
    IF owner IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE auth.users SET password_hash = new_hash WHERE user_id = owner AND status IN ('pending', 'active');
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Who reset the password may have done so because of a thief: other links and all sessions end.
    PERFORM auth.void_links(owner);
    UPDATE auth.user_sessions SET ended_at = now(), end_reason = 'password_changed' WHERE user_id = owner AND ended_at IS NULL;
    RETURN owner;
END;
$$;
COMMENT ON FUNCTION auth.reset_password(bytea, text) IS 'Consumes a reset link by its hash and sets the password; NULL where the link is unknown, used or expired, or the account is locked.';
ALTER FUNCTION auth.reset_password(bytea, text) OWNER TO auth_definer;

CREATE FUNCTION auth.verify_email(presented_hash bytea) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    proven record;
    before text;
BEGIN
    UPDATE auth.email_verification_tokens SET used_at = now()
    WHERE token_hash = presented_hash AND used_at IS NULL AND expires_at > now() RETURNING user_id, email INTO proven;
    IF proven.user_id IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT u.email INTO before FROM auth.users u WHERE u.user_id = proven.user_id;
    UPDATE auth.users SET email = proven.email, email_verified_at = now(), status = 'active'
    WHERE user_id = proven.user_id AND status IN ('pending', 'active');
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Links to the address before, and to others that were asked for.
    IF before IS DISTINCT FROM proven.email THEN
        PERFORM auth.void_links(proven.user_id);
    END IF;
    RETURN proven.user_id;
END;
$$;
COMMENT ON FUNCTION auth.verify_email(bytea) IS 'Consumes a verification link by its hash: the address is the account''s from now on, and a pending account is active. NULL where the link does not hold, or the account is locked.';
ALTER FUNCTION auth.verify_email(bytea) OWNER TO auth_definer;

CREATE FUNCTION auth.change_password(new_password_hash text, kept_session uuid DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_hash CONSTANT text := auth.check_password_hash(new_password_hash);
BEGIN
    UPDATE auth.users SET password_hash = new_hash WHERE user_id = (SELECT session.user_id());
    IF NOT FOUND THEN
        RAISE EXCEPTION 'changing the password: no user is set; call session.set_user first' USING ERRCODE = '28000';
    END IF;
    PERFORM auth.void_links((SELECT session.user_id()));
    UPDATE auth.user_sessions SET ended_at = now(), end_reason = 'password_changed'
    WHERE user_id = (SELECT session.user_id()) AND ended_at IS NULL AND session_id IS DISTINCT FROM kept_session;
END;
$$;
COMMENT ON FUNCTION auth.change_password(text, uuid) IS 'Sets the password of the user who is set, after the service has verified the old one; ends all sessions but one, and open links.';
ALTER FUNCTION auth.change_password(text, uuid) OWNER TO auth_definer;
