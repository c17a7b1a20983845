-- Two reports for each of the users 1 to seed.users, with three runs each, and twelve months of three metrics.
CREATE FUNCTION pg_temp.sample_user(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('sample user ' || n)::uuid $$;
-- A number from 0 to span - 1 that follows from what it is for.
CREATE FUNCTION pg_temp.dice(what text, span integer) RETURNS integer LANGUAGE sql IMMUTABLE
    AS $$ SELECT ((hashtextextended(what, 42) % span + span) % span)::integer $$;

INSERT INTO analytics.report_definitions (user_id, report_id, name, kind, parameters, every, next_run_at)
SELECT pg_temp.sample_user(n), md5('sample report ' || n || ' ' || r)::uuid, CASE r WHEN 1 THEN 'Monthly performance' ELSE 'Tax overview' END,
       CASE r WHEN 1 THEN 'performance' ELSE 'tax' END, jsonb_build_object('portfolio_id', md5('sample portfolio ' || n || ' 1')::uuid),
       CASE r WHEN 1 THEN interval '1 month' END, CASE r WHEN 1 THEN date_trunc('month', now()) + interval '1 month' END
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(1, 2) r;

INSERT INTO analytics.report_runs (user_id, report_id, state, requested_at, started_at, finished_at, attempts, result, error)
SELECT d.user_id, d.report_id, CASE WHEN failed THEN 'failed' ELSE 'done' END, moment, moment + interval '2 seconds', moment + interval '9 seconds', 1,
       CASE WHEN NOT failed THEN jsonb_build_object('return', pg_temp.dice('return ' || d.report_id || g, 2000) / 10000.0) END,
       CASE WHEN failed THEN 'no prices for the last day' END
FROM analytics.report_definitions d, generate_series(1, 3) g,
     LATERAL (SELECT now() - make_interval(months => g), pg_temp.dice('failed ' || d.report_id || g, 25) = 0) run (moment, failed);

INSERT INTO analytics.metric_aggregates (user_id, metric, period, period_start, value, unit)
SELECT pg_temp.sample_user(n), m.metric, 'month', (date_trunc('month', now()) - make_interval(months => g))::date,
       (pg_temp.dice(m.metric || n || ' ' || g, 4000) - 1500) / m.divisor, m.unit
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(1, 12) g,
     (VALUES ('return', 50000.0, 'ratio'), ('gain', 1.0, 'USD'), ('dividends', 10.0, 'USD')) m (metric, divisor, unit);
