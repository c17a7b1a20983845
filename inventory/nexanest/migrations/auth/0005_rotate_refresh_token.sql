-- The exchange of a refresh token happens before the user is known: the token says who it is.
CREATE FUNCTION auth.rotate_refresh_token(presented_hash bytea, next_hash bytea, lifetime interval DEFAULT '30 days')
RETURNS TABLE (outcome text, user_id uuid, session_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    held record;
BEGIN
    -- The lock makes two exchanges of one token wait for each other: the second one finds it used.
    SELECT t.user_id, t.token_id, t.family_id, t.used_at, t.expires_at INTO held
    FROM auth.refresh_tokens t WHERE t.token_hash = presented_hash FOR UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'unknown', NULL::uuid, NULL::uuid;
        RETURN;
    END IF;
    IF held.used_at IS NOT NULL THEN
        -- Somebody has a copy. Nobody can tell the thief from the owner, so the whole family ends.
        UPDATE auth.user_sessions s SET ended_at = now(), end_reason = 'token_reused'
        WHERE s.user_id = held.user_id AND s.session_id = held.family_id AND s.ended_at IS NULL;
        RETURN QUERY SELECT 'reused', held.user_id, held.family_id;
        RETURN;
    END IF;
    IF held.expires_at <= now() THEN
        RETURN QUERY SELECT 'expired', held.user_id, held.family_id;
        RETURN;
    END IF;
    -- Locked as well, first the account: what is being closed or ended issues nothing more.
    PERFORM FROM auth.users u WHERE u.user_id = held.user_id AND u.status IN ('pending', 'active') FOR SHARE;
    IF FOUND THEN
        PERFORM FROM auth.user_sessions s
        WHERE s.user_id = held.user_id AND s.session_id = held.family_id AND s.ended_at IS NULL FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'revoked', held.user_id, held.family_id;
        RETURN;
    END IF;
    UPDATE auth.refresh_tokens t SET used_at = now() WHERE t.user_id = held.user_id AND t.token_id = held.token_id;
    INSERT INTO auth.refresh_tokens (user_id, family_id, token_hash, expires_at)
    VALUES (held.user_id, held.family_id, next_hash, now() + lifetime);
    UPDATE auth.user_sessions s SET last_seen_at = now() WHERE s.user_id = held.user_id AND s.session_id = held.family_id;
    RETURN QUERY SELECT 'rotated', held.user_id, held.family_id;
END;
$$;

COMMENT ON FUNCTION auth.rotate_refresh_token(bytea, bytea, interval) IS
    'Exchanges a refresh token, by its hash, for the next one. outcome: rotated, unknown, expired, revoked, or reused, which ends the session. It never raises for these, so that the end of the session is committed.';
ALTER FUNCTION auth.rotate_refresh_token(bytea, bytea, interval) OWNER TO auth_definer;
