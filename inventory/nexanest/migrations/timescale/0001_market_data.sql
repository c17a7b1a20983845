-- Market data. Prices are exact numerics with their currency. What becomes a hypertable, and its aggregates, stand in group_vars/all/hypertables.yml.
CREATE TABLE market_data.stock_prices (
    time      timestamptz NOT NULL,
    symbol    text NOT NULL,
    exchange  text NOT NULL,
    price     numeric(20, 8) NOT NULL,
    volume    numeric(24, 8) NOT NULL DEFAULT 0,
    currency  char(3) NOT NULL,
    CONSTRAINT stock_prices_symbol_form CHECK (symbol = upper(symbol) AND symbol <> ''),
    CONSTRAINT stock_prices_exchange_filled CHECK (exchange <> ''),
    CONSTRAINT stock_prices_price_positive CHECK (price > 0),
    CONSTRAINT stock_prices_volume_positive CHECK (volume >= 0),
    CONSTRAINT stock_prices_currency_form CHECK (currency ~ '^[A-Z]{3}$')
);

COMMENT ON TABLE market_data.stock_prices IS 'Trades as they were reported, one row per tick. Late and repeated reports are rows like others.';

CREATE INDEX stock_prices_symbol_time_idx ON market_data.stock_prices (symbol, time DESC);

CREATE TABLE market_data.market_indices (
    time        timestamptz NOT NULL,
    index_code  text NOT NULL,
    value       numeric(20, 8) NOT NULL,
    CONSTRAINT market_indices_code_form CHECK (index_code ~ '^[A-Z0-9]{2,16}$'),
    CONSTRAINT market_indices_value_positive CHECK (value > 0)
);

COMMENT ON TABLE market_data.market_indices IS 'Values of market indices over time.';

CREATE INDEX market_indices_code_time_idx ON market_data.market_indices (index_code, time DESC);

CREATE TABLE market_data.currency_rates (
    time  timestamptz NOT NULL,
    pair  char(7) NOT NULL,
    rate  numeric(20, 10) NOT NULL,
    CONSTRAINT currency_rates_pair_form CHECK (pair ~ '^[A-Z]{3}/[A-Z]{3}$'),
    CONSTRAINT currency_rates_rate_positive CHECK (rate > 0)
);

COMMENT ON TABLE market_data.currency_rates IS 'Exchange rates: one unit of the first currency in units of the second.';

CREATE INDEX currency_rates_pair_time_idx ON market_data.currency_rates (pair, time DESC);
