-- The last price of each symbol in a handful of index probes. Without a list of symbols it would be a scan of all prices.
CREATE TABLE market_data.symbols (
    symbol      text PRIMARY KEY,
    name        text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT symbols_form CHECK (symbol = upper(symbol) AND symbol <> '')
);

COMMENT ON TABLE market_data.symbols IS 'Symbols that have prices. Whoever writes the first price of a symbol adds it here: a foreign key would cost each tick a look-up.';

CREATE VIEW market_data.latest_stock_prices AS
SELECT s.symbol, p.time, p.exchange, p.price, p.volume, p.currency
FROM market_data.symbols AS s
CROSS JOIN LATERAL (SELECT * FROM market_data.stock_prices AS t WHERE t.symbol = s.symbol ORDER BY t.time DESC LIMIT 1) AS p;

COMMENT ON VIEW market_data.latest_stock_prices IS 'The latest price of each symbol.';

REVOKE INSERT, UPDATE, DELETE ON market_data.latest_stock_prices FROM timescale_app;
