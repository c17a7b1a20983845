-- What a portfolio was worth at the end of each day.
CREATE TABLE portfolio.portfolio_snapshots (
    user_id       uuid NOT NULL,
    portfolio_id  uuid NOT NULL,
    day           date NOT NULL,
    market_value  portfolio.amount NOT NULL,
    cash          portfolio.amount NOT NULL,
    net_deposits  portfolio.amount NOT NULL,
    currency      portfolio.currency_code NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, portfolio_id, day),
    CONSTRAINT portfolio_snapshots_portfolio_fkey
        FOREIGN KEY (user_id, portfolio_id) REFERENCES portfolio.portfolios (user_id, portfolio_id) ON DELETE CASCADE,
    CONSTRAINT portfolio_snapshots_market_value_not_negative CHECK (market_value >= 0)
);

COMMENT ON TABLE portfolio.portfolio_snapshots IS 'Value of portfolios by day; a day that is computed again is overwritten.';
COMMENT ON COLUMN portfolio.portfolio_snapshots.day IS 'The day that ended, UTC.';
COMMENT ON COLUMN portfolio.portfolio_snapshots.market_value IS 'Value of the holdings without cash.';
COMMENT ON COLUMN portfolio.portfolio_snapshots.net_deposits IS 'Deposits less withdrawals since the beginning: what the gain is measured against.';
COMMENT ON COLUMN portfolio.portfolio_snapshots.currency IS 'The portfolio''s base currency on that day.';

CREATE TRIGGER portfolio_snapshots_touch BEFORE UPDATE ON portfolio.portfolio_snapshots FOR EACH ROW EXECUTE FUNCTION portfolio.touch();

ALTER TABLE portfolio.portfolio_snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE portfolio.portfolio_snapshots FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON portfolio.portfolio_snapshots USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
