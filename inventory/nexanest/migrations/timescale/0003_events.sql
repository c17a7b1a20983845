-- What happened, in order of time. Nothing here belongs to a user: a hypertable cannot keep users apart.
CREATE TABLE events.system_events (
    time      timestamptz NOT NULL DEFAULT now(),
    service   text NOT NULL,
    severity  text NOT NULL,
    event     text NOT NULL,
    details   jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT system_events_service_filled CHECK (service <> ''),
    CONSTRAINT system_events_severity_known CHECK (severity IN ('debug', 'info', 'warning', 'error', 'critical')),
    CONSTRAINT system_events_event_filled CHECK (event <> '')
);

COMMENT ON TABLE events.system_events IS 'What the services report of themselves.';

CREATE INDEX system_events_service_time_idx ON events.system_events (service, time DESC);

CREATE TABLE events.trading_events (
    time      timestamptz NOT NULL DEFAULT now(),
    exchange  text NOT NULL,
    symbol    text,
    event     text NOT NULL,
    details   jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT trading_events_exchange_filled CHECK (exchange <> ''),
    CONSTRAINT trading_events_symbol_form CHECK (symbol = upper(symbol) AND symbol <> ''),
    CONSTRAINT trading_events_event_known CHECK (event IN ('open', 'close', 'halt', 'resume', 'auction', 'split', 'dividend', 'correction'))
);

COMMENT ON TABLE events.trading_events IS 'What happened on exchanges, for one symbol or for all (NULL). Orders of users belong to the database portfolio.';

CREATE INDEX trading_events_exchange_time_idx ON events.trading_events (exchange, time DESC);
CREATE INDEX trading_events_symbol_time_idx ON events.trading_events (symbol, time DESC) WHERE symbol IS NOT NULL;
