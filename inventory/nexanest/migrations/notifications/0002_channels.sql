-- Where a user can be reached.
CREATE TABLE notifications.channels (
    user_id      uuid NOT NULL,
    channel_id   uuid NOT NULL DEFAULT gen_random_uuid(),
    kind         text NOT NULL,
    address      text NOT NULL,
    verified_at  timestamptz,
    disabled_at  timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, channel_id),
    CONSTRAINT channels_address_key UNIQUE (user_id, kind, address),
    CONSTRAINT channels_kind_known CHECK (kind IN ('email', 'push', 'sms', 'webhook')),
    CONSTRAINT channels_address_form CHECK (
        length(address) <= 2000 AND CASE kind
            WHEN 'email' THEN address = lower(address) AND address LIKE '_%@_%'
            WHEN 'sms' THEN address ~ '^\+[1-9][0-9]{6,14}$'
            WHEN 'webhook' THEN address LIKE 'https://_%'
            ELSE address <> '' END)
);

COMMENT ON TABLE notifications.channels IS 'Addresses at which users are reached.';
COMMENT ON COLUMN notifications.channels.user_id IS 'The account in the database auth; databases have no foreign keys between them.';
COMMENT ON COLUMN notifications.channels.address IS 'By kind: an e-mail address in lower case, a device token, a number in E.164 form, an https address.';
COMMENT ON COLUMN notifications.channels.verified_at IS 'Nothing but a verification is sent before.';
COMMENT ON COLUMN notifications.channels.disabled_at IS 'Set by the user, or after the provider refused the address for good.';

CREATE TRIGGER channels_touch BEFORE UPDATE ON notifications.channels FOR EACH ROW EXECUTE FUNCTION notifications.touch();

ALTER TABLE notifications.channels ENABLE ROW LEVEL SECURITY;
ALTER TABLE notifications.channels FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON notifications.channels USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
