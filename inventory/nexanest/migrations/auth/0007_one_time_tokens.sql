-- Links that are sent by e-mail. They are issued as the user, after auth.find_account has told the service who that is, and consumed once by a function.
CREATE TABLE auth.password_reset_tokens (
    user_id     uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    token_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    token_hash  bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL DEFAULT now() + interval '1 hour',
    used_at     timestamptz,
    PRIMARY KEY (user_id, token_id),
    CONSTRAINT password_reset_tokens_hash_key UNIQUE (token_hash),
    CONSTRAINT password_reset_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT password_reset_tokens_life CHECK (expires_at > created_at AND expires_at <= created_at + interval '1 day')
);

COMMENT ON TABLE auth.password_reset_tokens IS 'Password reset links; each works once and for a day at most.';
COMMENT ON COLUMN auth.password_reset_tokens.token_hash IS 'SHA-256 of the token in the link; the token itself is nowhere.';

CREATE TABLE auth.email_verification_tokens (
    user_id     uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    token_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    email       text NOT NULL,
    token_hash  bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL DEFAULT now() + interval '1 day',
    used_at     timestamptz,
    PRIMARY KEY (user_id, token_id),
    CONSTRAINT email_verification_tokens_hash_key UNIQUE (token_hash),
    CONSTRAINT email_verification_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT email_verification_tokens_email_lower CHECK (email = lower(email) AND email LIKE '_%@_%' AND length(email) <= 254),
    CONSTRAINT email_verification_tokens_life CHECK (expires_at > created_at AND expires_at <= created_at + interval '7 days')
);

COMMENT ON TABLE auth.email_verification_tokens IS 'Links that prove an address; each works once and for a week at most.';
COMMENT ON COLUMN auth.email_verification_tokens.email IS 'The address that is proven; it becomes the account''s, which is how an address is changed.';
COMMENT ON COLUMN auth.email_verification_tokens.token_hash IS 'SHA-256 of the token in the link; the token itself is nowhere.';

ALTER TABLE auth.password_reset_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.password_reset_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON auth.password_reset_tokens USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
ALTER TABLE auth.email_verification_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.email_verification_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON auth.email_verification_tokens USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

REVOKE ALL ON auth.password_reset_tokens, auth.email_verification_tokens FROM auth_app, auth_readonly;
GRANT SELECT (user_id, token_id, created_at, expires_at, used_at) ON auth.password_reset_tokens, auth.email_verification_tokens TO auth_app, auth_readonly;
GRANT SELECT (email) ON auth.email_verification_tokens TO auth_app, auth_readonly;
GRANT INSERT (user_id, token_hash, expires_at) ON auth.password_reset_tokens TO auth_app;
GRANT INSERT (user_id, email, token_hash, expires_at) ON auth.email_verification_tokens TO auth_app;
GRANT SELECT, UPDATE ON auth.password_reset_tokens, auth.email_verification_tokens TO auth_definer;
