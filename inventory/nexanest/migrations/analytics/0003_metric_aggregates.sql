-- Numbers that reports and dashboards read instead of computing them.
CREATE TABLE analytics.metric_aggregates (
    user_id       uuid NOT NULL,
    metric        text NOT NULL,
    subject       text NOT NULL DEFAULT '',
    period        text NOT NULL,
    period_start  date NOT NULL,
    value         numeric(28, 10) NOT NULL,
    unit          text NOT NULL,
    computed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, metric, subject, period, period_start),
    CONSTRAINT metric_aggregates_metric_form CHECK (metric ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT metric_aggregates_subject_length CHECK (length(subject) <= 200),
    CONSTRAINT metric_aggregates_period_known CHECK (period IN ('day', 'week', 'month', 'quarter', 'year')),
    CONSTRAINT metric_aggregates_period_starts CHECK (period_start = date_trunc(period, period_start::timestamp)::date),
    CONSTRAINT metric_aggregates_unit_known CHECK (unit IN ('ratio', 'count') OR unit ~ '^[A-Z]{3}$')
);

COMMENT ON TABLE analytics.metric_aggregates IS 'Computed metrics of users by period; one that is computed again is overwritten.';
COMMENT ON COLUMN analytics.metric_aggregates.metric IS 'As return, volatility, fees, dividends.';
COMMENT ON COLUMN analytics.metric_aggregates.subject IS 'What it is of, as a portfolio''s id; empty for all of the user.';
COMMENT ON COLUMN analytics.metric_aggregates.period_start IS 'First day of the period.';
COMMENT ON COLUMN analytics.metric_aggregates.unit IS 'ratio, count, or the ISO 4217 code of a currency.';

ALTER TABLE analytics.metric_aggregates ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics.metric_aggregates FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON analytics.metric_aggregates USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

CREATE VIEW analytics.report_overview WITH (security_invoker = true) AS
    SELECT d.user_id, d.report_id, d.name, d.kind, last.state, last.requested_at, last.finished_at
    FROM analytics.report_definitions d
    LEFT JOIN LATERAL (
        SELECT r.state, r.requested_at, r.finished_at FROM analytics.report_runs r
        WHERE r.user_id = d.user_id AND r.report_id = d.report_id ORDER BY r.requested_at DESC LIMIT 1
    ) last ON true;
COMMENT ON VIEW analytics.report_overview IS 'Reports with their last run.';
REVOKE INSERT, UPDATE, DELETE ON analytics.report_overview FROM analytics_app;
