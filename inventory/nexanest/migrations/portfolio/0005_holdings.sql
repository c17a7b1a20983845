-- Positions: always the sum of the transactions. Nobody writes them but the trigger.
CREATE TABLE portfolio.holdings (
    user_id       uuid NOT NULL,
    portfolio_id  uuid NOT NULL,
    symbol        portfolio.symbol NOT NULL,
    currency      portfolio.currency_code NOT NULL,
    quantity      portfolio.quantity NOT NULL,
    invested      portfolio.amount NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, portfolio_id, symbol, currency),
    CONSTRAINT holdings_portfolio_fkey FOREIGN KEY (user_id, portfolio_id) REFERENCES portfolio.portfolios (user_id, portfolio_id) ON DELETE CASCADE,
    CONSTRAINT holdings_not_short CHECK (quantity >= 0)
);

COMMENT ON TABLE portfolio.holdings IS 'What a portfolio holds, by symbol and currency: the sum of its purchases and sales.';
COMMENT ON COLUMN portfolio.holdings.quantity IS 'Zero where all was sold. More cannot be sold than is held.';
COMMENT ON COLUMN portfolio.holdings.invested IS 'What was paid less what was received, fees included.';

ALTER TABLE portfolio.holdings ENABLE ROW LEVEL SECURITY;
ALTER TABLE portfolio.holdings FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON portfolio.holdings USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
REVOKE INSERT, UPDATE, DELETE ON portfolio.holdings FROM portfolio_app;
GRANT SELECT, INSERT, UPDATE ON portfolio.holdings TO portfolio_definer;

CREATE FUNCTION portfolio.keep_holdings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Three steps, because a CHECK looks at the row of an INSERT before ON CONFLICT does: a sale would seem to make a negative holding.
    INSERT INTO portfolio.holdings (user_id, portfolio_id, symbol, currency, quantity, invested)
    SELECT DISTINCT user_id, portfolio_id, symbol, currency, 0, 0 FROM added WHERE quantity IS NOT NULL
    ORDER BY user_id, portfolio_id, symbol, currency
    ON CONFLICT DO NOTHING;
    -- In the order of the key: two statements cannot wait for each other.
    PERFORM FROM portfolio.holdings h
    WHERE (h.user_id, h.portfolio_id, h.symbol, h.currency) IN (SELECT a.user_id, a.portfolio_id, a.symbol, a.currency FROM added a WHERE a.quantity IS NOT NULL)
    ORDER BY h.user_id, h.portfolio_id, h.symbol, h.currency FOR NO KEY UPDATE;
    UPDATE portfolio.holdings h SET quantity = h.quantity + change.quantity, invested = h.invested + change.invested, updated_at = now()
    FROM (SELECT user_id, portfolio_id, symbol, currency, sum(quantity) AS quantity, -sum(amount) AS invested
          FROM added WHERE quantity IS NOT NULL GROUP BY user_id, portfolio_id, symbol, currency) change
    WHERE (h.user_id, h.portfolio_id, h.symbol, h.currency) = (change.user_id, change.portfolio_id, change.symbol, change.currency);
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION portfolio.keep_holdings() IS 'Trigger: adds new transactions to the holdings.';
CREATE TRIGGER transactions_keep_holdings AFTER INSERT ON portfolio.transactions REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION portfolio.keep_holdings();
ALTER FUNCTION portfolio.keep_holdings() OWNER TO portfolio_definer;
