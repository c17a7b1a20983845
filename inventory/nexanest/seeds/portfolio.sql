-- Two portfolios for each of the users 1 to seed.users, with 50 transactions and 30 days of snapshots each: about 200 rows per user.
CREATE FUNCTION pg_temp.sample_user(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('sample user ' || n)::uuid $$;
CREATE FUNCTION pg_temp.sample_portfolio(n integer, p integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('sample portfolio ' || n || ' ' || p)::uuid $$;
-- A number from 0 to span - 1 that follows from what it is for.
CREATE FUNCTION pg_temp.dice(what text, span integer) RETURNS integer LANGUAGE sql IMMUTABLE
    AS $$ SELECT ((hashtextextended(what, 42) % span + span) % span)::integer $$;

-- Prices of twenty symbols over 400 days: a random walk, the same each time.
SELECT setseed(0.42);
CREATE TEMPORARY TABLE steps ON COMMIT DROP AS
    SELECT s, d, (random() - 0.49) / 40 AS step FROM generate_series(1, 20) s, generate_series(0, 400) d ORDER BY s, d;
CREATE TEMPORARY TABLE prices ON COMMIT DROP AS
    SELECT s, d AS days_ago, (ARRAY['AAPL', 'MSFT', 'NVDA', 'AMZN', 'GOOGL', 'META', 'JPM', 'KO', 'PEP', 'JNJ', 'VTI', 'VXUS', 'BND', 'GLD', 'NESN', 'ROG',
           'NOVN', 'SAP', 'ASML', 'SIE'])[s] AS symbol,
           CASE WHEN s <= 14 THEN 'USD' WHEN s <= 17 THEN 'CHF' ELSE 'EUR' END AS currency,
           round((20 + s * 13) * exp(sum(ln(1 + step)) OVER (PARTITION BY s ORDER BY d DESC))::numeric, 4) AS price
    FROM steps;
CREATE UNIQUE INDEX ON pg_temp.prices (s, days_ago);
ANALYZE pg_temp.prices;

INSERT INTO portfolio.portfolios (user_id, portfolio_id, name, base_currency, benchmark_code)
SELECT pg_temp.sample_user(n), pg_temp.sample_portfolio(n, p), CASE p WHEN 1 THEN 'Retirement' ELSE 'Trading' END,
       (ARRAY['USD', 'CHF', 'EUR'])[1 + n % 3], (ARRAY['SPX', 'SMI', 'DAX'])[1 + n % 3]
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(1, 2) p;

-- A deposit, then mostly purchases; each tenth sells half of the purchase before it, so that no holding falls below zero.
INSERT INTO portfolio.transactions (user_id, transaction_id, portfolio_id, kind, symbol, quantity, price, fee, amount, currency, occurred_at, idempotency_key)
SELECT pg_temp.sample_user(n), md5('sample transaction ' || n || ' ' || p || ' ' || k)::uuid, pg_temp.sample_portfolio(n, p), kind,
       CASE WHEN kind IN ('buy', 'sell', 'dividend') THEN symbol END, quantity, CASE WHEN quantity IS NOT NULL THEN price END, fee,
       CASE kind WHEN 'deposit' THEN 100000 WHEN 'fee' THEN -12.5 WHEN 'dividend' THEN round(price / 50, 2) ELSE -round(quantity * price, 2) - fee END,
       currency, now() - make_interval(days => days_ago, secs => pg_temp.dice('second ' || n || p || k, 20000)), 'sample ' || n || ' ' || p || ' ' || k
FROM generate_series(1, current_setting('seed.users')::integer) n
CROSS JOIN generate_series(1, 2) p
CROSS JOIN generate_series(1, 50) k
CROSS JOIN LATERAL (SELECT CASE WHEN k = 1 THEN 'deposit' WHEN k % 10 = 0 THEN 'sell' WHEN k % 10 = 5 THEN 'dividend' WHEN k % 25 = 7 THEN 'fee' ELSE 'buy' END,
    n || ' ' || p || ' ' || CASE WHEN k % 10 = 0 THEN k - 1 ELSE k END) what (kind, trade)
CROSS JOIN LATERAL (SELECT 1 + pg_temp.dice('symbol ' || trade, 20), 10 * (1 + pg_temp.dice('pieces ' || trade, 10))) traded (s, pieces)
JOIN prices ON prices.s = traded.s AND prices.days_ago = 360 - k * 7
CROSS JOIN LATERAL (SELECT CASE kind WHEN 'buy' THEN pieces WHEN 'sell' THEN -pieces / 2.0 END, CASE WHEN kind IN ('buy', 'sell') THEN 4.9 ELSE 0 END) t (quantity, fee);

-- One of ten users made a mistake and reversed it.
INSERT INTO portfolio.transactions
    (user_id, portfolio_id, kind, symbol, quantity, price, fee, amount, currency, occurred_at, idempotency_key, reverses, note)
SELECT t.user_id, t.portfolio_id, t.kind, t.symbol, -t.quantity, t.price, t.fee, -t.amount, t.currency, now(), 'reverse ' || t.idempotency_key, t.transaction_id, 'entered twice'
FROM generate_series(1, current_setting('seed.users')::integer, 10) n
JOIN portfolio.transactions t ON t.user_id = pg_temp.sample_user(n) AND t.transaction_id = md5('sample transaction ' || n || ' 1 3')::uuid;

INSERT INTO portfolio.portfolio_snapshots (user_id, portfolio_id, day, market_value, cash, net_deposits, currency)
SELECT pg_temp.sample_user(n), pg_temp.sample_portfolio(n, p), (now() AT TIME ZONE 'UTC')::date - d,
       round(60000 * prices.price / first.price, 2), 40000, 100000, (ARRAY['USD', 'CHF', 'EUR'])[1 + n % 3]
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(1, 2) p, generate_series(1, 30) d
JOIN LATERAL (SELECT 1 + pg_temp.dice('mix ' || n || ' ' || p, 20)) mix (s) ON true
JOIN prices ON prices.s = mix.s AND prices.days_ago = d
JOIN prices first ON first.s = mix.s AND first.days_ago = 400;

INSERT INTO portfolio.watchlists (user_id, watchlist_id, name)
SELECT pg_temp.sample_user(n), md5('sample watchlist ' || n)::uuid, 'Interesting' FROM generate_series(1, current_setting('seed.users')::integer) n;
INSERT INTO portfolio.watchlist_items (user_id, watchlist_id, symbol)
SELECT pg_temp.sample_user(n), md5('sample watchlist ' || n)::uuid, prices.symbol
FROM generate_series(1, current_setting('seed.users')::integer) n, generate_series(0, 4) i
JOIN LATERAL (SELECT 1 + (pg_temp.dice('watched ' || n, 20) + i) % 20) watched (s) ON true
JOIN prices ON prices.s = watched.s AND prices.days_ago = 0;
INSERT INTO portfolio.watchlist_alerts (user_id, alert_id, watchlist_id, symbol, direction, threshold, currency)
SELECT i.user_id, md5('sample alert ' || i.user_id || i.symbol)::uuid, i.watchlist_id, i.symbol, 'above', round(prices.price * 1.5, 2), prices.currency
FROM portfolio.watchlist_items i JOIN prices ON prices.symbol = i.symbol AND prices.days_ago = 0
WHERE pg_temp.dice('alert ' || i.user_id || i.symbol, 2) = 0;

INSERT INTO portfolio.portfolio_goals (user_id, goal_id, portfolio_id, name, target_amount, currency, target_day)
SELECT pg_temp.sample_user(n), md5('sample goal ' || n)::uuid, pg_temp.sample_portfolio(n, 1), 'A house', 250000, (ARRAY['USD', 'CHF', 'EUR'])[1 + n % 3],
       (now() + interval '8 years')::date
FROM generate_series(1, current_setting('seed.users')::integer) n;

INSERT INTO portfolio.allocation_rules (user_id, portfolio_id, asset_class, weight)
SELECT pg_temp.sample_user(n), pg_temp.sample_portfolio(n, 1), rule.asset_class, rule.weight
FROM generate_series(1, current_setting('seed.users')::integer) n,
     (VALUES ('equity', 0.6), ('bond', 0.3), ('commodity', 0.08), ('cash', 0.02)) rule (asset_class, weight);
