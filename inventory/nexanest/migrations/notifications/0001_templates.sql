-- Texts of messages. They are the same for all users; only migrations write them.
CREATE FUNCTION notifications.touch() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION notifications.touch() IS 'Trigger: sets updated_at.';

CREATE TABLE notifications.templates (
    topic       text NOT NULL,
    kind        text NOT NULL,
    locale      text NOT NULL,
    subject     text,
    body        text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kind, locale),
    CONSTRAINT templates_topic_form CHECK (topic ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT templates_kind_known CHECK (kind IN ('email', 'push', 'sms', 'webhook')),
    CONSTRAINT templates_locale_form CHECK (locale ~ '^[a-z]{2}(-[A-Z]{2})?$'),
    CONSTRAINT templates_email_has_subject CHECK (kind <> 'email' OR subject <> ''),
    CONSTRAINT templates_body_filled CHECK (body <> '')
);

COMMENT ON TABLE notifications.templates IS 'Texts by topic, kind of channel and language.';
COMMENT ON COLUMN notifications.templates.topic IS 'What a message is about, as price_alert.';
COMMENT ON COLUMN notifications.templates.body IS 'Text with places as {{ symbol }}, which the service fills from the message''s payload.';

CREATE TRIGGER templates_touch BEFORE UPDATE ON notifications.templates FOR EACH ROW EXECUTE FUNCTION notifications.touch();
REVOKE INSERT, UPDATE, DELETE ON notifications.templates FROM notifications_app;

INSERT INTO notifications.templates (topic, kind, locale, subject, body) VALUES
    ('email_verification', 'email', 'en', 'Verify your e-mail address', 'Please open {{ link }} to verify your address. The link works once, for a day.'),
    ('password_reset', 'email', 'en', 'Reset your password', 'Open {{ link }} to set a new password. If you did not ask for it, ignore this message.'),
    ('price_alert', 'email', 'en', '{{ symbol }} is at {{ price }} {{ currency }}', '{{ symbol }} has met your alert: {{ price }} {{ currency }}.'),
    ('price_alert', 'push', 'en', NULL, '{{ symbol }} is at {{ price }} {{ currency }}'),
    ('report_ready', 'email', 'en', 'Your report {{ name }} is ready', 'Your report {{ name }} is ready: {{ link }}'),
    ('goal_reached', 'push', 'en', NULL, 'You have reached your goal {{ name }}');
