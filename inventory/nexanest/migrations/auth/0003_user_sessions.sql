-- Sessions. One is opened as the user, and ended by a function: what is ended stays ended.
CREATE TABLE auth.user_sessions (
    user_id       uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    session_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    started_at    timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    end_reason    text,
    ip_address    inet,
    user_agent    text,
    PRIMARY KEY (user_id, session_id),
    CONSTRAINT user_sessions_seen_after_start CHECK (last_seen_at >= started_at),
    CONSTRAINT user_sessions_end_has_reason CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CONSTRAINT user_sessions_end_reason_known CHECK (end_reason IN ('signed_out', 'token_reused', 'password_changed')),
    CONSTRAINT user_sessions_user_agent_length CHECK (length(user_agent) <= 1024)
);

COMMENT ON TABLE auth.user_sessions IS 'Logins of users, open until ended_at is set; each is the family of its refresh tokens.';
COMMENT ON COLUMN auth.user_sessions.end_reason IS 'signed_out, token_reused (a refresh token was presented twice) or password_changed.';

CREATE INDEX user_sessions_open_idx ON auth.user_sessions (user_id, last_seen_at) WHERE ended_at IS NULL;

ALTER TABLE auth.user_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.user_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON auth.user_sessions USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

REVOKE INSERT, UPDATE, DELETE ON auth.user_sessions FROM auth_app;
GRANT INSERT (user_id, ip_address, user_agent), UPDATE (last_seen_at) ON auth.user_sessions TO auth_app;
GRANT SELECT, UPDATE ON auth.user_sessions TO auth_definer;

CREATE FUNCTION auth.end_session(wanted uuid) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE auth.user_sessions SET ended_at = now(), end_reason = 'signed_out'
    WHERE user_id = (SELECT session.user_id()) AND session_id = wanted AND ended_at IS NULL
    RETURNING true
$$;
COMMENT ON FUNCTION auth.end_session(uuid) IS 'Sign out: ends a session of the user who is set, and with it its refresh tokens; true where it was open.';
ALTER FUNCTION auth.end_session(uuid) OWNER TO auth_definer;

-- security_invoker: with the rights of who asks, so that row security holds through the view.
CREATE VIEW auth.open_sessions WITH (security_invoker = true) AS
    SELECT user_id, session_id, started_at, last_seen_at, ip_address, user_agent FROM auth.user_sessions WHERE ended_at IS NULL;
COMMENT ON VIEW auth.open_sessions IS 'Where a user is signed in.';
REVOKE INSERT, UPDATE, DELETE ON auth.open_sessions FROM auth_app;
