-- Users' own data: plain tables behind row security. A hypertable's chunks do not have it, and every role that reads the hypertable reads its chunks.
CREATE TABLE analytics_ts.portfolio_snapshots (
    user_id       uuid NOT NULL,
    portfolio_id  uuid NOT NULL,
    time          timestamptz NOT NULL,
    value         numeric(20, 4) NOT NULL,
    cash          numeric(20, 4) NOT NULL DEFAULT 0,
    currency      char(3) NOT NULL,
    PRIMARY KEY (user_id, portfolio_id, time),
    CONSTRAINT portfolio_snapshots_currency_form CHECK (currency ~ '^[A-Z]{3}$')
);

COMMENT ON TABLE analytics_ts.portfolio_snapshots IS 'Value of a portfolio over time. Kept.';
COMMENT ON COLUMN analytics_ts.portfolio_snapshots.portfolio_id IS 'The portfolio in the database portfolio; databases have no foreign keys between them.';

ALTER TABLE analytics_ts.portfolio_snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics_ts.portfolio_snapshots FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON analytics_ts.portfolio_snapshots
    USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

CREATE TABLE analytics_ts.risk_metrics (
    user_id       uuid NOT NULL,
    portfolio_id  uuid NOT NULL,
    metric        text NOT NULL,
    time          timestamptz NOT NULL,
    value         numeric(20, 10) NOT NULL,
    PRIMARY KEY (user_id, portfolio_id, metric, time),
    CONSTRAINT risk_metrics_metric_form CHECK (metric ~ '^[a-z][a-z0-9_]{0,62}$')
);

COMMENT ON TABLE analytics_ts.risk_metrics IS 'Risk figures of a portfolio over time. Kept for two years.';

CREATE INDEX risk_metrics_time_idx ON analytics_ts.risk_metrics (time);

ALTER TABLE analytics_ts.risk_metrics ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics_ts.risk_metrics FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON analytics_ts.risk_metrics
    USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
