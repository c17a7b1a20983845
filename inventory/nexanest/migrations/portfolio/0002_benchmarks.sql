-- Market indices to compare with. They are the same for all users; only migrations write them.
CREATE TABLE portfolio.benchmarks (
    benchmark_code  text PRIMARY KEY,
    name            text NOT NULL,
    currency        portfolio.currency_code NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT benchmarks_code_form CHECK (benchmark_code ~ '^[A-Z0-9]{2,16}$'),
    CONSTRAINT benchmarks_name_key UNIQUE (name),
    CONSTRAINT benchmarks_name_filled CHECK (name <> '')
);

COMMENT ON TABLE portfolio.benchmarks IS 'Market indices that portfolios are compared with.';
COMMENT ON COLUMN portfolio.benchmarks.benchmark_code IS 'index_code of market_data.market_indices in the TimescaleDB, where its values are.';

INSERT INTO portfolio.benchmarks (benchmark_code, name, currency) VALUES
    ('SPX', 'S&P 500', 'USD'),
    ('NDX', 'Nasdaq-100', 'USD'),
    ('SX5E', 'EURO STOXX 50', 'EUR'),
    ('DAX', 'DAX', 'EUR'),
    ('SMI', 'Swiss Market Index', 'CHF'),
    ('UKX', 'FTSE 100', 'GBP'),
    ('NKY', 'Nikkei 225', 'JPY');

REVOKE INSERT, UPDATE, DELETE ON portfolio.benchmarks FROM portfolio_app;
