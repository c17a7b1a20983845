-- Services, flags and settings as a running product has them, and what the users 1 to seed.users did.
CREATE FUNCTION pg_temp.sample_user(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('sample user ' || n)::uuid $$;

INSERT INTO nexanest.services (service_name, base_url, version)
SELECT name, 'http://' || name || '.sample.invalid:8080', '1.0.0' FROM unnest(ARRAY['auth', 'portfolio', 'analytics', 'notifications']) name
ON CONFLICT DO NOTHING;

INSERT INTO nexanest.feature_flags (flag_name, description, enabled, rollout) VALUES
    ('new_dashboard', 'The dashboard with live prices', true, 25),
    ('crypto', 'Crypto assets in portfolios', false, 100),
    ('tax_reports', 'Reports for the tax office', true, 100)
ON CONFLICT DO NOTHING;

INSERT INTO nexanest.settings (setting_name, value, description) VALUES
    ('session.longest_idle_minutes', '30', 'After how long a user has to log in again'),
    ('reports.longest_period_days', '3660', 'The longest period that a report may cover'),
    ('support.address', '"support@sample.invalid"', 'Shown where something went wrong')
ON CONFLICT DO NOTHING;

INSERT INTO nexanest.feature_flag_overrides (user_id, flag_name, enabled)
SELECT pg_temp.sample_user(n), 'crypto', true FROM generate_series(1, current_setting('seed.users')::integer, 4) n;

INSERT INTO nexanest.audit_trail (recorded_at, user_id, login_role, action, subject, details)
SELECT now() - make_interval(hours => a * 50), pg_temp.sample_user(n), 'nexanest_app', (ARRAY['portfolio.created', 'report.exported', 'profile.changed'])[a],
       'user/' || pg_temp.sample_user(n), '{"sample": true}'
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(1, 3) a;
