-- Workers share the outbox without waiting for each other. A claim tells whose message it is; its text is read as that user.
CREATE FUNCTION notifications.claim_messages(batch integer DEFAULT 20, lease interval DEFAULT '2 minutes')
RETURNS TABLE (user_id uuid, message_id uuid, lease_id uuid, attempt integer)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE notifications.outbox o
    SET state = CASE WHEN o.attempts >= o.max_attempts THEN 'dead' ELSE 'sending' END,
        lease_id = CASE WHEN o.attempts >= o.max_attempts THEN NULL ELSE gen_random_uuid() END,
        last_error = CASE WHEN o.attempts >= o.max_attempts THEN coalesce(o.last_error, 'its worker did not report') ELSE o.last_error END,
        attempts = o.attempts + CASE WHEN o.attempts >= o.max_attempts THEN 0 ELSE 1 END,
        next_attempt_at = now() + greatest(least(lease, interval '1 hour'), interval '5 seconds')
    FROM (
        SELECT d.user_id, d.message_id FROM notifications.outbox d
        WHERE d.state IN ('waiting', 'sending') AND d.next_attempt_at <= now()
        ORDER BY d.next_attempt_at LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED
    ) due
    WHERE o.user_id = due.user_id AND o.message_id = due.message_id
    RETURNING o.user_id, o.message_id, o.lease_id, o.attempts
$$;
COMMENT ON FUNCTION notifications.claim_messages(integer, interval) IS
    'Hands messages that are due to a worker, each to one, and those whose worker was silent for the lease, of 5 seconds to an hour. At most 1000 at once. A row without a lease_id was given up.';
ALTER FUNCTION notifications.claim_messages(integer, interval) OWNER TO notifications_definer;

CREATE FUNCTION notifications.finish_message(message uuid, lease uuid, failure text DEFAULT NULL) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE notifications.outbox
    SET state = CASE WHEN failure IS NULL THEN 'sent' WHEN attempts >= max_attempts THEN 'dead' ELSE 'waiting' END,
        lease_id = NULL, last_error = failure,
        -- 30 s, 1 min, 2 min … at most a day, and up to a fifth more, so that what failed together does not come back together.
        next_attempt_at = now() + least(interval '30 seconds' * 2 ^ least(attempts - 1, 12), interval '1 day') * (1 + random() / 5)
    WHERE user_id = (SELECT session.user_id()) AND message_id = message AND lease_id = lease AND state = 'sending'
    RETURNING state
$$;
COMMENT ON FUNCTION notifications.finish_message(uuid, uuid, text) IS
    'Ends a claim, called as the message''s user: sent, or with the failure''s words to be tried again later, or dead. NULL where the lease is no longer the worker''s.';
ALTER FUNCTION notifications.finish_message(uuid, uuid, text) OWNER TO notifications_definer;
