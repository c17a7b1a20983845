-- Login. An attempt is counted before the password is verified, so that many at once cannot slip past the limit.

-- What attempts wait at. Rows that only the definer may lock: an advisory lock could be held by every role of the database, and so keep anybody out.
CREATE TABLE auth.login_gates (gate integer PRIMARY KEY);
COMMENT ON TABLE auth.login_gates IS 'Locks of begin_login, by a hash: 16384 for e-mail addresses, then as many for network addresses. It holds nothing else.';
INSERT INTO auth.login_gates SELECT generate_series(0, 32767);
REVOKE ALL ON auth.login_gates FROM auth_app, auth_readonly;
GRANT SELECT, UPDATE ON auth.login_gates TO auth_definer; -- UPDATE: the right to lock

CREATE FUNCTION auth.begin_login(login_email text, from_address inet, agent text DEFAULT NULL)
RETURNS TABLE (attempt_id uuid, allowed boolean, retry_after interval, user_id uuid, password_hash text, status text)
-- Planned each time with the moment's values, which name the months that are asked: no other partition is locked, and a job that makes one is in nobody's way.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    period CONSTANT interval := '15 minutes';
    hash CONSTANT bytea := sha256(convert_to(lower(login_email), 'UTF8'));
    account auth.users;
    moment timestamptz;
    since timestamptz;
    success timestamptz;
    full_since timestamptz;
    attempt uuid := gen_random_uuid();
BEGIN
    -- One attempt at a time for an address of either kind; always in this order.
    PERFORM FROM auth.login_gates g WHERE g.gate = (hashtextextended(encode(hash, 'hex'), 0) & 16383)::integer FOR NO KEY UPDATE;
    PERFORM FROM auth.login_gates g WHERE g.gate = 16384 + (hashtextextended(host(from_address), 0) & 16383)::integer FOR NO KEY UPDATE;
    moment := clock_timestamp();
    since := moment - period;
    SELECT * INTO account FROM auth.users u WHERE u.email = lower(login_email);
    SELECT max(a.attempted_at) INTO success FROM auth.login_attempts a
    WHERE a.email_hash = hash AND a.ip_address = from_address AND a.outcome = 'succeeded'
        AND a.attempted_at > since AND a.attempted_at <= moment;
    -- The failure that fills a limit, and so when it is free again: 5 by account and address since the last success, 20 by account, 50 by address.
    SELECT max(filled.at) INTO full_since FROM (
        (SELECT a.attempted_at AS at FROM auth.login_attempts a WHERE a.email_hash = hash AND a.ip_address = from_address AND a.outcome = 'failed'
            AND a.attempted_at > greatest(since, success) AND a.attempted_at <= moment ORDER BY a.attempted_at DESC OFFSET 4 LIMIT 1)
        UNION ALL
        (SELECT a.attempted_at FROM auth.login_attempts a WHERE a.email_hash = hash AND a.outcome = 'failed'
            AND a.attempted_at > since AND a.attempted_at <= moment ORDER BY a.attempted_at DESC OFFSET 19 LIMIT 1)
        UNION ALL
        (SELECT a.attempted_at FROM auth.login_attempts a WHERE a.ip_address = from_address AND a.outcome = 'failed'
            AND a.attempted_at > since AND a.attempted_at <= moment ORDER BY a.attempted_at DESC OFFSET 49 LIMIT 1)
    ) filled;
    INSERT INTO auth.login_attempts (attempted_at, attempt_id, user_id, email_hash, ip_address, user_agent, outcome)
    VALUES (moment, attempt, account.user_id, hash, from_address, left(agent, 1024), CASE WHEN full_since IS NULL THEN 'failed' ELSE 'refused' END);
    IF full_since IS NOT NULL THEN
        RETURN QUERY SELECT attempt, false, full_since + period - moment, NULL::uuid, NULL::text, NULL::text;
    ELSE
        RETURN QUERY SELECT attempt, true, interval '0', account.user_id, account.password_hash, account.status;
    END IF;
END;
$$;
COMMENT ON FUNCTION auth.begin_login(text, inet, text) IS
    'Counts an attempt as failed and returns the account''s hash to verify, or for how long the rate limit refuses. Call it in a transaction of its own, READ COMMITTED.';
ALTER FUNCTION auth.begin_login(text, inet, text) OWNER TO auth_definer;

CREATE FUNCTION auth.confirm_login(attempt uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    moment CONSTANT timestamptz := clock_timestamp();
    since CONSTANT timestamptz := moment - interval '10 minutes';
BEGIN
    PERFORM FROM auth.users u WHERE u.user_id = (SELECT session.user_id()) AND u.status IN ('pending', 'active');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE auth.login_attempts a SET outcome = 'succeeded'
    WHERE a.user_id = (SELECT session.user_id()) AND a.attempt_id = attempt AND a.outcome = 'failed' AND a.attempted_at > since AND a.attempted_at <= moment;
    RETURN FOUND;
END;
$$;
COMMENT ON FUNCTION auth.confirm_login(uuid) IS
    'The password was right: called as the user whose attempt it is. true where that holds; then the service opens a session and issues its first refresh token.';
ALTER FUNCTION auth.confirm_login(uuid) OWNER TO auth_definer;
