-- Tokens are stored as SHA-256 hashes only: a stolen table logs nobody in.
CREATE TABLE auth.refresh_tokens (
    user_id     uuid NOT NULL,
    token_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    family_id   uuid NOT NULL,
    token_hash  bytea NOT NULL,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    PRIMARY KEY (user_id, token_id),
    CONSTRAINT refresh_tokens_hash_key UNIQUE (token_hash),
    CONSTRAINT refresh_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT refresh_tokens_expire_later CHECK (expires_at > issued_at AND expires_at <= issued_at + interval '90 days'),
    CONSTRAINT refresh_tokens_family_fkey FOREIGN KEY (user_id, family_id) REFERENCES auth.user_sessions (user_id, session_id) ON DELETE CASCADE
);

COMMENT ON TABLE auth.refresh_tokens IS 'Refresh tokens; each is used once and replaced by the next of its family.';
COMMENT ON COLUMN auth.refresh_tokens.family_id IS 'The session that all tokens of one login descend from. A second use of one ends it, and so revokes them all.';
COMMENT ON COLUMN auth.refresh_tokens.token_hash IS 'SHA-256 of the token; the token itself is nowhere.';
COMMENT ON COLUMN auth.refresh_tokens.used_at IS 'When it was exchanged for its successor.';

CREATE INDEX refresh_tokens_family_idx ON auth.refresh_tokens (user_id, family_id);
CREATE UNIQUE INDEX refresh_tokens_one_live_idx ON auth.refresh_tokens (user_id, family_id) WHERE used_at IS NULL;
CREATE INDEX refresh_tokens_expires_at_idx ON auth.refresh_tokens (expires_at);

ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.refresh_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON auth.refresh_tokens USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

REVOKE ALL ON auth.refresh_tokens FROM auth_app, auth_readonly;
GRANT SELECT (user_id, token_id, family_id, issued_at, expires_at, used_at) ON auth.refresh_tokens TO auth_app, auth_readonly;
-- The first token of a family is issued as the user: who can set that user has the service's key, and SQL alone has not.
GRANT INSERT (user_id, family_id, token_hash, expires_at) ON auth.refresh_tokens TO auth_app;
GRANT SELECT, INSERT, UPDATE ON auth.refresh_tokens TO auth_definer;
