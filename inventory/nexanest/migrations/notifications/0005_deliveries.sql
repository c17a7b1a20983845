-- What became of each attempt to deliver a message over a channel.
CREATE TABLE notifications.deliveries (
    user_id             uuid NOT NULL,
    delivery_id         uuid NOT NULL DEFAULT gen_random_uuid(),
    message_id          uuid NOT NULL,
    channel_id          uuid NOT NULL,
    outcome             text NOT NULL,
    provider_reference  text,
    error               text,
    attempted_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, delivery_id),
    CONSTRAINT deliveries_message_fkey FOREIGN KEY (user_id, message_id) REFERENCES notifications.outbox (user_id, message_id) ON DELETE CASCADE,
    CONSTRAINT deliveries_channel_fkey FOREIGN KEY (user_id, channel_id) REFERENCES notifications.channels (user_id, channel_id) ON DELETE CASCADE,
    CONSTRAINT deliveries_outcome_known CHECK (outcome IN ('accepted', 'failed', 'bounced')),
    CONSTRAINT deliveries_error_unless_accepted CHECK ((outcome = 'accepted') = (error IS NULL))
);

COMMENT ON TABLE notifications.deliveries IS 'Attempts to deliver messages over channels, one row each.';
COMMENT ON COLUMN notifications.deliveries.outcome IS 'accepted by the provider, failed (may work later), or bounced (the address is wrong).';
COMMENT ON COLUMN notifications.deliveries.provider_reference IS 'The provider''s own number of the message.';

CREATE INDEX deliveries_message_idx ON notifications.deliveries (user_id, message_id);
CREATE INDEX deliveries_channel_idx ON notifications.deliveries (user_id, channel_id);

ALTER TABLE notifications.deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE notifications.deliveries FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON notifications.deliveries USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
REVOKE UPDATE, DELETE ON notifications.deliveries FROM notifications_app;
