-- Market data as hypertables. Prices are exact numerics with their currency.
CREATE TABLE market_data.stock_prices (
    time      timestamptz NOT NULL,
    symbol    text NOT NULL CHECK (symbol = upper(symbol) AND symbol <> ''),
    exchange  text NOT NULL CHECK (exchange <> ''),
    price     numeric(20, 8) NOT NULL CHECK (price > 0),
    volume    numeric(24, 8) NOT NULL DEFAULT 0 CHECK (volume >= 0),
    currency  char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$')
);

SELECT create_hypertable('market_data.stock_prices', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE INDEX stock_prices_symbol_time_idx ON market_data.stock_prices (symbol, time DESC);

COMMENT ON TABLE market_data.stock_prices IS 'Trades as they were reported, one row per tick.';

CREATE TABLE market_data.market_indices (
    time        timestamptz NOT NULL,
    index_code  text NOT NULL CHECK (index_code = upper(index_code) AND index_code <> ''),
    value       numeric(20, 8) NOT NULL CHECK (value > 0)
);

SELECT create_hypertable('market_data.market_indices', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
CREATE INDEX market_indices_code_time_idx ON market_data.market_indices (index_code, time DESC);

COMMENT ON TABLE market_data.market_indices IS 'Values of market indices over time.';

CREATE TABLE market_data.currency_rates (
    time  timestamptz NOT NULL,
    pair  char(7) NOT NULL CHECK (pair ~ '^[A-Z]{3}/[A-Z]{3}$'),
    rate  numeric(20, 10) NOT NULL CHECK (rate > 0)
);

SELECT create_hypertable('market_data.currency_rates', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
CREATE INDEX currency_rates_pair_time_idx ON market_data.currency_rates (pair, time DESC);

COMMENT ON TABLE market_data.currency_rates IS 'Exchange rates: one unit of the first currency in units of the second.';
