-- What happens to accounts before the user is known, and what the user may change of theirs.
CREATE FUNCTION auth.register_user(new_email text, new_password_hash text) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO auth.users (email, password_hash) VALUES (lower(new_email), new_password_hash) ON CONFLICT (email) DO NOTHING RETURNING user_id
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

CREATE FUNCTION auth.reset_password(presented_hash bytea, new_password_hash text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner uuid;
BEGIN
    UPDATE auth.password_reset_tokens SET used_at = now()
    WHERE token_hash = presented_hash AND used_at IS NULL AND expires_at > now() RETURNING user_id INTO owner;
    IF owner IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE auth.users SET password_hash = new_password_hash WHERE user_id = owner AND status IN ('pending', 'active');
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Who reset the password may have done so because of a thief: other links and all sessions end.
    UPDATE auth.password_reset_tokens SET used_at = now() WHERE user_id = owner AND used_at IS NULL;
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
BEGIN
    UPDATE auth.email_verification_tokens SET used_at = now()
    WHERE token_hash = presented_hash AND used_at IS NULL AND expires_at > now() RETURNING user_id, email INTO proven;
    IF proven.user_id IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE auth.users SET email = proven.email, email_verified_at = now(), status = CASE status WHEN 'pending' THEN 'active' ELSE status END
    WHERE user_id = proven.user_id;
    RETURN proven.user_id;
END;
$$;
COMMENT ON FUNCTION auth.verify_email(bytea) IS 'Consumes a verification link by its hash: the address is the account''s from now on, and a pending account is active. NULL where the link does not hold.';
ALTER FUNCTION auth.verify_email(bytea) OWNER TO auth_definer;

CREATE FUNCTION auth.change_password(new_password_hash text, kept_session uuid DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE auth.users SET password_hash = new_password_hash WHERE user_id = (SELECT session.user_id());
    IF NOT FOUND THEN
        RAISE EXCEPTION 'changing the password: no user is set; call session.set_user first' USING ERRCODE = '28000';
    END IF;
    UPDATE auth.user_sessions SET ended_at = now(), end_reason = 'password_changed'
    WHERE user_id = (SELECT session.user_id()) AND ended_at IS NULL AND session_id IS DISTINCT FROM kept_session;
END;
$$;
COMMENT ON FUNCTION auth.change_password(text, uuid) IS 'Sets the password of the user who is set, after the service has verified the old one; ends all sessions but one.';
ALTER FUNCTION auth.change_password(text, uuid) OWNER TO auth_definer;
