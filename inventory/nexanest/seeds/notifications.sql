-- Channels, preferences and past messages of the users 1 to seed.users. Nothing waits to be sent, and the addresses lie in .invalid.
CREATE FUNCTION pg_temp.sample_user(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('sample user ' || n)::uuid $$;
-- A number from 0 to span - 1 that follows from what it is for.
CREATE FUNCTION pg_temp.dice(what text, span integer) RETURNS integer LANGUAGE sql IMMUTABLE
    AS $$ SELECT ((hashtextextended(what, 42) % span + span) % span)::integer $$;

INSERT INTO notifications.channels (user_id, channel_id, kind, address, verified_at)
SELECT pg_temp.sample_user(n), md5('sample channel ' || n || ' ' || c)::uuid, CASE c WHEN 1 THEN 'email' ELSE 'push' END,
       CASE c WHEN 1 THEN 'user' || lpad(n::text, 7, '0') || '@sample.invalid' ELSE md5('device ' || n) END, now() - interval '50 days'
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(1, 2) c;

INSERT INTO notifications.preferences (user_id, topic, kind, enabled, quiet_from, quiet_until, time_zone)
SELECT pg_temp.sample_user(n), p.topic, p.kind, pg_temp.dice(p.topic || n, 4) > 0, p.quiet_from, p.quiet_until, 'Europe/Zurich'
FROM generate_series(1, current_setting('seed.users')::integer) n,
     (VALUES ('price_alert', 'push', time '22:00', time '07:00'), ('report_ready', 'email', NULL, NULL)) p (topic, kind, quiet_from, quiet_until);

INSERT INTO notifications.outbox (user_id, message_id, topic, payload, idempotency_key, state, attempts, next_attempt_at, last_error, created_at, updated_at)
SELECT pg_temp.sample_user(n), md5('sample message ' || n || ' ' || m)::uuid, CASE WHEN m % 2 = 0 THEN 'price_alert' ELSE 'report_ready' END,
       CASE WHEN m % 2 = 0 THEN '{"symbol": "AAPL", "price": "187.2", "currency": "USD"}'::jsonb ELSE '{"name": "Monthly performance"}'::jsonb END,
       'sample ' || m, CASE WHEN dead THEN 'dead' ELSE 'sent' END, CASE WHEN dead THEN 8 ELSE 1 END, moment,
       CASE WHEN dead THEN 'the provider did not answer' END, moment, moment
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(1, 6) m,
     LATERAL (SELECT now() - make_interval(days => m * 7), pg_temp.dice('dead ' || n || m, 50) = 0) sent (moment, dead);

INSERT INTO notifications.deliveries (user_id, message_id, channel_id, outcome, provider_reference, error, attempted_at)
SELECT o.user_id, o.message_id, c.channel_id, CASE o.state WHEN 'sent' THEN 'accepted' ELSE 'failed' END,
       CASE o.state WHEN 'sent' THEN md5('reference ' || o.message_id) END, o.last_error, o.created_at + interval '3 seconds'
FROM notifications.outbox o JOIN notifications.channels c ON c.user_id = o.user_id AND c.kind = CASE o.topic WHEN 'price_alert' THEN 'push' ELSE 'email' END;
