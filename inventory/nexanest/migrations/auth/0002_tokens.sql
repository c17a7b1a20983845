-- Tokens are stored as SHA-256 hashes only: a stolen table logs nobody in.
CREATE TABLE auth.refresh_tokens (
    token_id    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id     uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    family_id   uuid NOT NULL,
    token_hash  bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    issued_at   timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    revoked_at  timestamptz,
    CONSTRAINT refresh_tokens_hash_key UNIQUE (token_hash),
    CONSTRAINT refresh_tokens_expire_later CHECK (expires_at > issued_at)
);

COMMENT ON TABLE auth.refresh_tokens IS 'Refresh tokens; each is used once and replaced by the next of its family.';
COMMENT ON COLUMN auth.refresh_tokens.family_id IS 'All tokens that descend from one login. A second use of one revokes the family.';

CREATE INDEX refresh_tokens_user_id_idx ON auth.refresh_tokens (user_id);
CREATE INDEX refresh_tokens_family_id_idx ON auth.refresh_tokens (family_id);
CREATE INDEX refresh_tokens_expires_at_idx ON auth.refresh_tokens (expires_at) WHERE revoked_at IS NULL;

CREATE TABLE auth.user_sessions (
    session_id    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id       uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    started_at    timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    ip_address    inet,
    user_agent    text CHECK (length(user_agent) <= 1024),
    CONSTRAINT user_sessions_seen_after_start CHECK (last_seen_at >= started_at)
);

COMMENT ON TABLE auth.user_sessions IS 'Logins of users, open until ended_at is set.';

CREATE INDEX user_sessions_user_id_idx ON auth.user_sessions (user_id);
CREATE INDEX user_sessions_open_idx ON auth.user_sessions (last_seen_at) WHERE ended_at IS NULL;
