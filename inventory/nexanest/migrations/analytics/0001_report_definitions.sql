-- What a user wants to have reported.
CREATE FUNCTION analytics.touch() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION analytics.touch() IS 'Trigger: sets updated_at.';

CREATE TABLE analytics.report_definitions (
    user_id     uuid NOT NULL,
    report_id   uuid NOT NULL DEFAULT gen_random_uuid(),
    name        text NOT NULL,
    kind        text NOT NULL,
    parameters  jsonb NOT NULL DEFAULT '{}',
    every       interval,
    next_run_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, report_id),
    CONSTRAINT report_definitions_name_key UNIQUE (user_id, name),
    CONSTRAINT report_definitions_name_filled CHECK (name <> '' AND length(name) <= 200),
    CONSTRAINT report_definitions_kind_known CHECK (kind IN ('performance', 'allocation', 'income', 'risk', 'tax', 'transactions')),
    CONSTRAINT report_definitions_parameters_object CHECK (jsonb_typeof(parameters) = 'object'),
    CONSTRAINT report_definitions_every_sensible CHECK (every >= interval '1 hour'),
    CONSTRAINT report_definitions_next_run_if_scheduled CHECK (next_run_at IS NULL OR every IS NOT NULL)
);

COMMENT ON TABLE analytics.report_definitions IS 'Reports that users defined.';
COMMENT ON COLUMN analytics.report_definitions.user_id IS 'The account in the database auth; databases have no foreign keys between them.';
COMMENT ON COLUMN analytics.report_definitions.parameters IS 'What the kind needs, as portfolio_id, from, to.';
COMMENT ON COLUMN analytics.report_definitions.every IS 'How often it runs by itself; NULL for a report that is run by hand.';

CREATE INDEX report_definitions_due_idx ON analytics.report_definitions (next_run_at) WHERE next_run_at IS NOT NULL;
CREATE TRIGGER report_definitions_touch BEFORE UPDATE ON analytics.report_definitions FOR EACH ROW EXECUTE FUNCTION analytics.touch();

ALTER TABLE analytics.report_definitions ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics.report_definitions FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON analytics.report_definitions USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
