-- Sample accounts 1 to seed.users. A user's id follows from the number, the same in every database. Nobody can log in as one: the password hash and the
-- token hashes fit nothing that anybody knows, and the addresses lie in .invalid, where no mail arrives.
CREATE FUNCTION pg_temp.sample_user(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('sample user ' || n)::uuid $$;
-- A number from 0 to span - 1 that follows from what it is for.
CREATE FUNCTION pg_temp.dice(what text, span integer) RETURNS integer LANGUAGE sql IMMUTABLE
    AS $$ SELECT ((hashtextextended(what, 42) % span + span) % span)::integer $$;
CREATE FUNCTION pg_temp.nobodys_hash() RETURNS bytea LANGUAGE sql VOLATILE
    AS $$ SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) $$;

INSERT INTO auth.users (user_id, email, password_hash, status, email_verified_at, created_at, updated_at)
SELECT pg_temp.sample_user(n), 'user' || lpad(n::text, 7, '0') || '@sample.invalid', '$unusable$sample',
       CASE WHEN n % 20 = 0 THEN 'pending' WHEN n % 97 = 0 THEN 'locked' ELSE 'active' END,
       CASE WHEN n % 20 <> 0 THEN born + interval '1 hour' END, born, born + interval '1 hour'
FROM generate_series(1, current_setting('seed.users')::integer) n,
     LATERAL (SELECT now() - make_interval(days => 60 + pg_temp.dice('born ' || n, 700))) b (born);

INSERT INTO auth.user_profiles (user_id, display_name, locale, time_zone, base_currency)
SELECT pg_temp.sample_user(n),
       (ARRAY['Ada', 'Bruno', 'Chiara', 'Daniel', 'Elena', 'Finn', 'Giulia', 'Hugo', 'Ines', 'Jonas', 'Klara', 'Luca'])[1 + pg_temp.dice('first ' || n, 12)] || ' ' ||
       (ARRAY['Keller', 'Martin', 'Rossi', 'Novak', 'Silva', 'Weber', 'Dubois', 'Larsen', 'Costa', 'Moser'])[1 + pg_temp.dice('last ' || n, 10)],
       place[1], place[2], place[3]
FROM generate_series(1, current_setting('seed.users')::integer) n,
     LATERAL (SELECT string_to_array((ARRAY['de-CH Europe/Zurich CHF', 'de-DE Europe/Berlin EUR', 'en-GB Europe/London GBP', 'en-US America/New_York USD'])
         [1 + pg_temp.dice('place ' || n, 4)], ' ')) p (place);

-- Two sessions each, one of them ended.
INSERT INTO auth.user_sessions (user_id, session_id, started_at, last_seen_at, ended_at, end_reason, ip_address, user_agent)
SELECT pg_temp.sample_user(n), md5('session ' || n || ' ' || s)::uuid, began, began + interval '2 hours',
       CASE s WHEN 1 THEN began + interval '3 hours' END, CASE s WHEN 1 THEN 'signed_out' END,
       ('198.51.100.' || pg_temp.dice('ip ' || n, 255))::inet, 'Mozilla/5.0 (sample)'
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(1, 2) s,
     LATERAL (SELECT now() - make_interval(days => 3 - s, hours => 4 + pg_temp.dice('began ' || n || s, 20))) b (began);

-- Of each session one used token, and of the open ones a live one.
INSERT INTO auth.refresh_tokens (user_id, family_id, token_hash, issued_at, expires_at, used_at)
SELECT s.user_id, s.session_id, pg_temp.nobodys_hash(), s.started_at + make_interval(hours => g), s.started_at + interval '30 days',
       CASE g WHEN 0 THEN s.started_at + interval '1 hour' END
FROM auth.user_sessions s, generate_series(0, 1) g WHERE g = 0 OR s.ended_at IS NULL;

INSERT INTO auth.api_keys (user_id, name, prefix, key_hash, scopes, created_at, expires_at)
SELECT pg_temp.sample_user(n), 'spreadsheet', substr(md5('api key ' || n), 1, 16), pg_temp.nobodys_hash(), ARRAY['portfolio:read'],
       now() - interval '40 days', now() + interval '325 days'
FROM generate_series(1, current_setting('seed.users')::integer, 5) n;

INSERT INTO auth.email_verification_tokens (user_id, email, token_hash, created_at, expires_at, used_at)
SELECT user_id, email, pg_temp.nobodys_hash(), created_at, created_at + interval '1 day', email_verified_at FROM auth.users;

INSERT INTO auth.password_reset_tokens (user_id, token_hash, created_at, expires_at, used_at)
SELECT pg_temp.sample_user(n), pg_temp.nobodys_hash(), now() - interval '20 days', now() - interval '19 days', now() - interval '20 days' + interval '5 minutes'
FROM generate_series(1, current_setting('seed.users')::integer, 10) n;

-- Attempts of the last two months: their partitions were not made ahead.
SELECT auth.make_login_partition(month::date)
FROM generate_series(date_trunc('month', now(), 'UTC') - interval '2 months', date_trunc('month', now(), 'UTC') - interval '1 month', interval '1 month') month
WHERE to_regclass(to_char(month AT TIME ZONE 'UTC', '"auth.login_attempts_"YYYY_MM')) IS NULL;

INSERT INTO auth.login_attempts (attempted_at, user_id, email_hash, ip_address, user_agent, outcome)
SELECT now() - make_interval(hours => 1 + pg_temp.dice('attempt ' || n || ' ' || a, 1400)), u.user_id, sha256(convert_to(u.email, 'UTF8')),
       ('198.51.100.' || pg_temp.dice('ip ' || n, 255))::inet, 'Mozilla/5.0 (sample)', CASE a WHEN 1 THEN 'failed' ELSE 'succeeded' END
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(1, 5) a, auth.users u
WHERE u.user_id = pg_temp.sample_user(n);
