-- Switches of the product, and what single users have instead.
CREATE TABLE nexanest.feature_flags (
    flag_name    text PRIMARY KEY,
    description  text NOT NULL,
    enabled      boolean NOT NULL DEFAULT false,
    rollout      numeric(5, 2) NOT NULL DEFAULT 100,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT feature_flags_name_form CHECK (flag_name ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT feature_flags_description_filled CHECK (description <> ''),
    CONSTRAINT feature_flags_rollout_percent CHECK (rollout BETWEEN 0 AND 100)
);

COMMENT ON TABLE nexanest.feature_flags IS 'Feature flags; each change of one is in the audit trail.';
COMMENT ON COLUMN nexanest.feature_flags.rollout IS 'Percent of users for whom an enabled flag is on; the same users each time.';

CREATE TABLE nexanest.feature_flag_overrides (
    user_id     uuid NOT NULL,
    flag_name   text NOT NULL REFERENCES nexanest.feature_flags ON DELETE CASCADE,
    enabled     boolean NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, flag_name)
);

COMMENT ON TABLE nexanest.feature_flag_overrides IS 'Flags that are on or off for single users, whatever holds for all.';
CREATE INDEX feature_flag_overrides_flag_name_idx ON nexanest.feature_flag_overrides (flag_name);

ALTER TABLE nexanest.feature_flag_overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE nexanest.feature_flag_overrides FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON nexanest.feature_flag_overrides USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

CREATE TRIGGER feature_flags_touch BEFORE UPDATE ON nexanest.feature_flags FOR EACH ROW EXECUTE FUNCTION nexanest.touch();
CREATE TRIGGER feature_flag_overrides_touch BEFORE UPDATE ON nexanest.feature_flag_overrides FOR EACH ROW EXECUTE FUNCTION nexanest.touch();
CREATE TRIGGER feature_flags_audit AFTER INSERT OR UPDATE OR DELETE ON nexanest.feature_flags
    FOR EACH ROW EXECUTE FUNCTION nexanest.audit_change('flag_name');

CREATE FUNCTION nexanest.feature_enabled(wanted text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT o.enabled FROM nexanest.feature_flag_overrides o WHERE o.user_id = (SELECT session.user_id()) AND o.flag_name = wanted),
        (SELECT f.enabled AND (f.rollout = 100 OR coalesce(abs(hashtextextended(session.user_id() || f.flag_name, 0) % 10000) < f.rollout * 100, false))
         FROM nexanest.feature_flags f WHERE f.flag_name = wanted),
        false)
$$;
COMMENT ON FUNCTION nexanest.feature_enabled(text) IS 'Whether a flag is on for the user who is set; an unknown flag is off.';
