-- What a user wants to hear of, and how. No row: the topic's default, which the service knows.
CREATE TABLE notifications.preferences (
    user_id      uuid NOT NULL,
    topic        text NOT NULL,
    kind         text NOT NULL,
    enabled      boolean NOT NULL,
    quiet_from   time,
    quiet_until  time,
    time_zone    text NOT NULL DEFAULT 'UTC',
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, topic, kind),
    CONSTRAINT preferences_topic_form CHECK (topic ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT preferences_kind_known CHECK (kind IN ('email', 'push', 'sms', 'webhook')),
    CONSTRAINT preferences_quiet_hours_whole CHECK ((quiet_from IS NULL) = (quiet_until IS NULL)),
    CONSTRAINT preferences_time_zone_filled CHECK (time_zone <> '' AND length(time_zone) <= 64)
);

COMMENT ON TABLE notifications.preferences IS 'Which topics reach a user over which kind of channel.';
COMMENT ON COLUMN notifications.preferences.quiet_from IS 'Start of the hours in which nothing is sent, in time_zone; they may pass midnight.';

CREATE TRIGGER preferences_touch BEFORE UPDATE ON notifications.preferences FOR EACH ROW EXECUTE FUNCTION notifications.touch();

ALTER TABLE notifications.preferences ENABLE ROW LEVEL SECURITY;
ALTER TABLE notifications.preferences FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON notifications.preferences USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
