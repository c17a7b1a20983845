-- Every attempt to log in, for rate limiting and for the user to look at. One partition per month, so that what is old goes without a DELETE.
CREATE TABLE auth.login_attempts (
    attempted_at  timestamptz NOT NULL DEFAULT now(),
    attempt_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id       uuid REFERENCES auth.users ON DELETE CASCADE,
    email_hash    bytea NOT NULL,
    ip_address    inet NOT NULL,
    user_agent    text,
    outcome       text NOT NULL DEFAULT 'failed',
    PRIMARY KEY (attempted_at, attempt_id),
    CONSTRAINT login_attempts_email_hash_length CHECK (octet_length(email_hash) = 32),
    CONSTRAINT login_attempts_user_agent_length CHECK (length(user_agent) <= 1024),
    CONSTRAINT login_attempts_outcome_known CHECK (outcome IN ('failed', 'succeeded', 'refused'))
) PARTITION BY RANGE (attempted_at);

COMMENT ON TABLE auth.login_attempts IS 'Attempts to log in, in monthly partitions.';
COMMENT ON COLUMN auth.login_attempts.user_id IS 'The account of the address; NULL where it has none.';
COMMENT ON COLUMN auth.login_attempts.email_hash IS 'SHA-256 of the lower-cased address. Not the address: people type passwords into the wrong field.';
COMMENT ON COLUMN auth.login_attempts.outcome IS 'failed (also while it goes on), succeeded, or refused by the rate limit.';

CREATE INDEX login_attempts_user_idx ON auth.login_attempts (user_id, attempted_at);
CREATE INDEX login_attempts_email_idx ON auth.login_attempts (email_hash, attempted_at);
CREATE INDEX login_attempts_ip_idx ON auth.login_attempts (ip_address, attempted_at);

ALTER TABLE auth.login_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.login_attempts FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON auth.login_attempts USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
REVOKE ALL ON auth.login_attempts FROM auth_app, auth_readonly;
GRANT SELECT (attempted_at, attempt_id, user_id, ip_address, user_agent, outcome) ON auth.login_attempts TO auth_app, auth_readonly;
GRANT SELECT, INSERT, UPDATE ON auth.login_attempts TO auth_definer;

-- Takes what no month takes: a login never fails because a partition is missing. The next run of auth.make_login_partitions moves its rows.
CREATE TABLE auth.login_attempts_default PARTITION OF auth.login_attempts DEFAULT;
COMMENT ON TABLE auth.login_attempts_default IS 'Attempts in months that have no partition yet.';
-- A partition that is asked directly does not know its parent's policy and rights.
ALTER TABLE auth.login_attempts_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.login_attempts_default FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON auth.login_attempts_default USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
REVOKE ALL ON auth.login_attempts_default FROM auth_app, auth_readonly;
