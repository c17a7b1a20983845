-- What happened, in order of time.
CREATE TABLE events.system_events (
    time      timestamptz NOT NULL DEFAULT now(),
    service   text NOT NULL CHECK (service <> ''),
    severity  text NOT NULL CHECK (severity IN ('debug', 'info', 'warning', 'error', 'critical')),
    event     text NOT NULL CHECK (event <> ''),
    details   jsonb NOT NULL DEFAULT '{}'
);

SELECT create_hypertable('events.system_events', by_range('time', INTERVAL '7 days'), create_default_indexes => false);
CREATE INDEX system_events_service_time_idx ON events.system_events (service, time DESC);

COMMENT ON TABLE events.system_events IS 'What the services report of themselves.';
