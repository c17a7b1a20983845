-- Settings that all services share. Never secrets: these are files.
CREATE TABLE nexanest.settings (
    setting_name  text PRIMARY KEY,
    value         jsonb NOT NULL,
    description   text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT settings_name_form CHECK (setting_name ~ '^[a-z][a-z0-9_.]{0,126}$'),
    CONSTRAINT settings_description_filled CHECK (description <> '')
);

COMMENT ON TABLE nexanest.settings IS 'Settings of the whole product; each change of one is in the audit trail. No secrets.';

CREATE TRIGGER settings_touch BEFORE UPDATE ON nexanest.settings FOR EACH ROW EXECUTE FUNCTION nexanest.touch();
CREATE TRIGGER settings_audit AFTER INSERT OR UPDATE OR DELETE ON nexanest.settings
    FOR EACH ROW EXECUTE FUNCTION nexanest.audit_change('setting_name');
