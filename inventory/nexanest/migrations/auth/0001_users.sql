-- Accounts. What belongs to a person hangs on users and goes with them.
CREATE TABLE auth.users (
    user_id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email              text NOT NULL,
    password_hash      text NOT NULL,
    status             text NOT NULL DEFAULT 'pending',
    email_verified_at  timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_email_key UNIQUE (email),
    -- Lower-cased text instead of citext: its comparisons are leakproof, so row security can use the index.
    CONSTRAINT users_email_lower CHECK (email = lower(email) AND email LIKE '_%@_%' AND length(email) <= 254),
    -- A hash in PHC form ($argon2id$…); a password in clear cannot be stored.
    CONSTRAINT users_password_hash_form CHECK (password_hash ~ '^\$[a-z0-9-]{1,32}\$[!-~]+$' AND length(password_hash) <= 512),
    CONSTRAINT users_status_known CHECK (status IN ('pending', 'active', 'locked', 'closed'))
);

COMMENT ON TABLE auth.users IS 'User accounts, one row each.';
COMMENT ON COLUMN auth.users.email IS 'Login name, lower case.';
COMMENT ON COLUMN auth.users.password_hash IS 'Password hash in PHC string form; only definer functions read it.';
COMMENT ON COLUMN auth.users.status IS 'pending (e-mail not verified), active, locked or closed.';

CREATE FUNCTION auth.touch() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION auth.touch() IS 'Trigger: sets updated_at.';

CREATE TRIGGER users_touch BEFORE UPDATE ON auth.users FOR EACH ROW EXECUTE FUNCTION auth.touch();

ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.users FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON auth.users USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

-- The service reads all but the hash, and may delete the account of the user whom it acts for. All other writes are functions.
REVOKE ALL ON auth.users FROM auth_app, auth_readonly;
GRANT SELECT (user_id, email, status, email_verified_at, created_at, updated_at) ON auth.users TO auth_app, auth_readonly;
GRANT DELETE ON auth.users TO auth_app;
GRANT SELECT, INSERT, UPDATE ON auth.users TO auth_definer;
