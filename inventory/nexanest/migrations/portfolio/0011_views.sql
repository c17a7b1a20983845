-- security_invoker: with the rights of who asks, so that row security holds through the views. Materialised views cannot do that: there are none of user data.
CREATE VIEW portfolio.cash_balances WITH (security_invoker = true) AS
    SELECT user_id, portfolio_id, currency, sum(amount) AS cash
    FROM portfolio.transactions GROUP BY user_id, portfolio_id, currency;
COMMENT ON VIEW portfolio.cash_balances IS 'Cash of portfolios by currency: the sum of their transactions.';

CREATE VIEW portfolio.portfolio_overview WITH (security_invoker = true) AS
    SELECT p.user_id, p.portfolio_id, p.name, p.base_currency, latest.day, latest.market_value, latest.cash,
           latest.market_value + latest.cash - latest.net_deposits AS gain,
           (SELECT count(*) FROM portfolio.holdings h WHERE h.user_id = p.user_id AND h.portfolio_id = p.portfolio_id AND h.quantity > 0) AS positions
    FROM portfolio.portfolios p
    LEFT JOIN LATERAL (
        SELECT s.day, s.market_value, s.cash, s.net_deposits FROM portfolio.portfolio_snapshots s
        WHERE s.user_id = p.user_id AND s.portfolio_id = p.portfolio_id ORDER BY s.day DESC LIMIT 1
    ) latest ON true
    WHERE p.archived_at IS NULL;
COMMENT ON VIEW portfolio.portfolio_overview IS 'Open portfolios with their latest snapshot.';

REVOKE INSERT, UPDATE, DELETE ON portfolio.cash_balances, portfolio.portfolio_overview FROM portfolio_app;
