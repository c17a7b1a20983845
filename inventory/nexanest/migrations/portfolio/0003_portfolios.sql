-- The user is the first part of every key: a row can only refer to rows of the same user, and one index serves key, tenant and policy.
CREATE TABLE portfolio.portfolios (
    user_id         uuid NOT NULL,
    portfolio_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    name            text NOT NULL,
    base_currency   portfolio.currency_code NOT NULL,
    benchmark_code  text REFERENCES portfolio.benchmarks,
    archived_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, portfolio_id),
    CONSTRAINT portfolios_name_key UNIQUE (user_id, name),
    CONSTRAINT portfolios_name_filled CHECK (name <> '' AND length(name) <= 200)
);

COMMENT ON TABLE portfolio.portfolios IS 'Investment portfolios of users.';
COMMENT ON COLUMN portfolio.portfolios.user_id IS 'The account in the database auth; databases have no foreign keys between them.';
COMMENT ON COLUMN portfolio.portfolios.base_currency IS 'Currency of its totals and snapshots; holdings keep their own.';
COMMENT ON COLUMN portfolio.portfolios.archived_at IS 'Set instead of deleting: one with transactions stays.';

CREATE INDEX portfolios_benchmark_code_idx ON portfolio.portfolios (benchmark_code);
CREATE TRIGGER portfolios_touch BEFORE UPDATE ON portfolio.portfolios FOR EACH ROW EXECUTE FUNCTION portfolio.touch();

ALTER TABLE portfolio.portfolios ENABLE ROW LEVEL SECURITY;
ALTER TABLE portfolio.portfolios FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON portfolio.portfolios USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
