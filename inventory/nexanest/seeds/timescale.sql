-- Ticks of 200 symbols on four exchanges: a random walk over the last 30 days, 1 % late, 0.5 % repeated; indices, rates and events beside them, and the portfolios'
-- snapshots of the users 1 to seed.users. There are 1,000 ticks per user, or as many as `seed.ticks` says.
CREATE FUNCTION pg_temp.sample_user(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('sample user ' || n)::uuid $$;
SELECT setseed(0.42);

CREATE TEMP TABLE sample_size ON COMMIT DROP AS
SELECT coalesce(nullif(current_setting('seed.ticks', true), '')::bigint, current_setting('seed.users')::bigint * 1000) AS ticks,
       date_trunc('minute', now()) AS until, interval '30 days' AS span;

CREATE TEMP TABLE sample_symbols ON COMMIT DROP AS
SELECT 'SYM' || lpad(n::text, 3, '0') AS symbol, (ARRAY['XNYS', 'XNAS', 'XETR', 'XLON'])[n % 4 + 1] AS exchange,
       (ARRAY['USD', 'USD', 'EUR', 'GBP'])[n % 4 + 1] AS currency, 20 + 3 * n AS base, n
FROM generate_series(1, 200) AS n;

INSERT INTO market_data.symbols (symbol, name) SELECT symbol, 'Sample share ' || n FROM sample_symbols ON CONFLICT DO NOTHING;

-- Each tick moves its symbol's price by at most 0.2 %; microseconds keep the ticks of a symbol apart.
INSERT INTO market_data.stock_prices (time, symbol, exchange, price, volume, currency)
SELECT z.until - z.span + z.span * (t.i / (z.ticks / 200.0)) + make_interval(secs => s.n * 0.000001),
       s.symbol, s.exchange, round((s.base * exp(sum(random() - 0.5) OVER (PARTITION BY s.n ORDER BY t.i) * 0.004))::numeric, 4),
       (1 + floor(random() * 500))::numeric, s.currency
FROM sample_size AS z, generate_series(0, z.ticks * 985 / 1000 / 200 - 1) AS t (i), sample_symbols AS s;

-- Late: written now, of any time before.
INSERT INTO market_data.stock_prices (time, symbol, exchange, price, volume, currency)
SELECT z.until - z.span * random(), s.symbol, s.exchange, round((s.base * (0.95 + random() * 0.1))::numeric, 4), 1 + t.i % 100, s.currency
FROM sample_size AS z, generate_series(1, z.ticks / 100) AS t (i) JOIN sample_symbols AS s ON s.n = t.i % 200 + 1;

-- Repeated: the same report twice.
INSERT INTO market_data.stock_prices
SELECT p.* FROM sample_size AS z, sample_symbols AS s,
     LATERAL (SELECT * FROM market_data.stock_prices AS q WHERE q.symbol = s.symbol AND q.exchange = s.exchange ORDER BY q.time DESC LIMIT z.ticks / 200 / 200) AS p;

INSERT INTO market_data.market_indices (time, index_code, value)
SELECT z.until - g.m * interval '15 minutes', c.code, round((c.base * exp(sum(random() - 0.5) OVER (PARTITION BY c.code ORDER BY g.m) * 0.003))::numeric, 2)
FROM sample_size AS z, generate_series(0, 2880) AS g (m), (VALUES ('SPX', 5000.0), ('NDX', 18000), ('SX5E', 4800), ('DAX', 18500), ('UKX', 8200)) AS c (code, base);

INSERT INTO market_data.currency_rates (time, pair, rate)
SELECT z.until - g.m * interval '5 minutes', c.pair, round((c.base * exp(sum(random() - 0.5) OVER (PARTITION BY c.pair ORDER BY g.m) * 0.001))::numeric, 6)
FROM sample_size AS z, generate_series(0, 8640) AS g (m), (VALUES ('EUR/USD', 1.08), ('GBP/USD', 1.27), ('USD/JPY', 151.0), ('EUR/CHF', 0.96)) AS c (pair, base);

INSERT INTO events.system_events (time, service, severity, event)
SELECT z.until - z.span * random(), (ARRAY['auth', 'portfolio', 'analytics', 'notifications'])[g.n % 4 + 1],
       (ARRAY['info', 'info', 'info', 'warning', 'error'])[g.n % 5 + 1], (ARRAY['started', 'request', 'slow request', 'stopped'])[g.n % 4 + 1]
FROM sample_size AS z, generate_series(1, 5000) AS g (n);

INSERT INTO events.trading_events (time, exchange, event)
SELECT z.until - g.d * interval '1 day' + o.at, e.exchange, o.event
FROM sample_size AS z, generate_series(1, 29) AS g (d), (SELECT DISTINCT exchange FROM sample_symbols) AS e,
     (VALUES ('open', interval '0'), ('close', interval '8 hours')) AS o (event, at);

INSERT INTO analytics_ts.portfolio_snapshots (user_id, portfolio_id, time, value, cash, currency)
SELECT pg_temp.sample_user(n), md5('sample portfolio ' || n || ' 1')::uuid, z.until - g.d * interval '1 day',
       round((10000 + n % 1000 * 25 + 50 * g.d * random())::numeric, 2), 500, 'USD'
FROM sample_size AS z, generate_series(1, current_setting('seed.users')::integer) AS n, generate_series(0, 29) AS g (d);

INSERT INTO analytics_ts.risk_metrics (user_id, portfolio_id, metric, time, value)
SELECT pg_temp.sample_user(n), md5('sample portfolio ' || n || ' 1')::uuid, m.metric, z.until - g.d * interval '1 day', round((m.base * (0.5 + random()))::numeric, 6)
FROM sample_size AS z, generate_series(1, current_setting('seed.users')::integer) AS n, generate_series(0, 29) AS g (d),
     (VALUES ('volatility', 0.15), ('value_at_risk_95', 0.02)) AS m (metric, base);
