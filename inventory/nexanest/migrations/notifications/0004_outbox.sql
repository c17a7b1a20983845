-- Messages to be sent. One is written in the transaction that causes it, and sent by a worker, again until it works or is given up.
CREATE TABLE notifications.outbox (
    user_id          uuid NOT NULL,
    message_id       uuid NOT NULL DEFAULT gen_random_uuid(),
    topic            text NOT NULL,
    payload          jsonb NOT NULL DEFAULT '{}',
    idempotency_key  text NOT NULL,
    state            text NOT NULL DEFAULT 'waiting',
    attempts         integer NOT NULL DEFAULT 0,
    max_attempts     integer NOT NULL DEFAULT 8,
    next_attempt_at  timestamptz NOT NULL DEFAULT now(),
    lease_id         uuid,
    last_error       text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, message_id),
    CONSTRAINT outbox_idempotency_key UNIQUE (user_id, idempotency_key),
    CONSTRAINT outbox_topic_form CHECK (topic ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT outbox_payload_object CHECK (jsonb_typeof(payload) = 'object'),
    CONSTRAINT outbox_idempotency_key_filled CHECK (idempotency_key <> '' AND length(idempotency_key) <= 200),
    CONSTRAINT outbox_state_known CHECK (state IN ('waiting', 'sending', 'sent', 'dead')),
    CONSTRAINT outbox_lease_while_sending CHECK ((state = 'sending') = (lease_id IS NOT NULL)),
    CONSTRAINT outbox_attempts_range CHECK (attempts >= 0 AND max_attempts BETWEEN 1 AND 100)
);

COMMENT ON TABLE notifications.outbox IS 'Messages to users that wait, are being sent, were sent, or were given up.';
COMMENT ON COLUMN notifications.outbox.payload IS 'What the template''s places are filled with. No passwords, no links that log in.';
COMMENT ON COLUMN notifications.outbox.state IS 'waiting, sending (a worker has it until next_attempt_at), sent, or dead (given up after max_attempts).';
COMMENT ON COLUMN notifications.outbox.next_attempt_at IS 'When it may be claimed, for the first time or again.';
COMMENT ON COLUMN notifications.outbox.lease_id IS 'Of the claim: a worker that was too slow cannot finish what another one has by now.';

CREATE INDEX outbox_due_idx ON notifications.outbox (next_attempt_at) WHERE state IN ('waiting', 'sending');
CREATE INDEX outbox_recent_idx ON notifications.outbox (user_id, created_at DESC);
CREATE TRIGGER outbox_touch BEFORE UPDATE ON notifications.outbox FOR EACH ROW EXECUTE FUNCTION notifications.touch();

ALTER TABLE notifications.outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE notifications.outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON notifications.outbox USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

-- The retry state is changed by functions alone.
REVOKE INSERT, UPDATE, DELETE ON notifications.outbox FROM notifications_app;
GRANT INSERT (user_id, topic, payload, idempotency_key, max_attempts, next_attempt_at) ON notifications.outbox TO notifications_app;
GRANT SELECT, UPDATE ON notifications.outbox TO notifications_definer;
