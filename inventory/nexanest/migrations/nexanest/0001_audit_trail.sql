-- Who did what, append-only. Rows come from functions that know who the user is: none can be written in another's name.
CREATE FUNCTION nexanest.touch() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION nexanest.touch() IS 'Trigger: sets updated_at.';

CREATE TABLE nexanest.audit_trail (
    audit_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    user_id     uuid,
    login_role  text NOT NULL,
    action      text NOT NULL,
    subject     text NOT NULL,
    details     jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT audit_trail_action_form CHECK (action ~ '^[a-z][a-z0-9_.]{0,62}$'),
    CONSTRAINT audit_trail_subject_filled CHECK (subject <> '' AND length(subject) <= 500),
    CONSTRAINT audit_trail_details_object CHECK (jsonb_typeof(details) = 'object')
);

COMMENT ON TABLE nexanest.audit_trail IS 'What users and services did, append-only.';
COMMENT ON COLUMN nexanest.audit_trail.audit_id IS 'Order in which rows were begun; a rolled back one leaves a gap.';
COMMENT ON COLUMN nexanest.audit_trail.user_id IS 'Who was set by a signed token; NULL where nobody was.';
COMMENT ON COLUMN nexanest.audit_trail.login_role IS 'The role that was logged in.';
COMMENT ON COLUMN nexanest.audit_trail.subject IS 'What it was done to, as feature_flag/new_dashboard.';

CREATE INDEX audit_trail_user_idx ON nexanest.audit_trail (user_id, recorded_at DESC);
CREATE INDEX audit_trail_subject_idx ON nexanest.audit_trail (subject, recorded_at DESC);
CREATE INDEX audit_trail_recorded_idx ON nexanest.audit_trail USING brin (recorded_at);

ALTER TABLE nexanest.audit_trail ENABLE ROW LEVEL SECURITY;
ALTER TABLE nexanest.audit_trail FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON nexanest.audit_trail USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
REVOKE INSERT, UPDATE, DELETE ON nexanest.audit_trail FROM nexanest_app;
GRANT INSERT ON nexanest.audit_trail TO nexanest_definer;

CREATE FUNCTION nexanest.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: it is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END;
$$;
COMMENT ON FUNCTION nexanest.refuse_change() IS 'Trigger: keeps a table append-only, also for its owner.';
CREATE TRIGGER audit_trail_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON nexanest.audit_trail
    FOR EACH STATEMENT EXECUTE FUNCTION nexanest.refuse_change();

CREATE FUNCTION nexanest.record_action(done text, what text, more jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO nexanest.audit_trail (user_id, login_role, action, subject, details) VALUES (session.user_id(), session_user, done, what, more)
$$;
COMMENT ON FUNCTION nexanest.record_action(text, text, jsonb) IS 'Adds a row to the audit trail, in the name of the user who is set.';
ALTER FUNCTION nexanest.record_action(text, text, jsonb) OWNER TO nexanest_definer;

CREATE FUNCTION nexanest.audit_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO nexanest.audit_trail (user_id, login_role, action, subject, details)
    VALUES (session.user_id(), session_user, lower(TG_OP), TG_TABLE_NAME || '/' || (coalesce(to_jsonb(NEW), to_jsonb(OLD)) ->> TG_ARGV[0]),
            jsonb_build_object('before', to_jsonb(OLD), 'after', to_jsonb(NEW)));
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION nexanest.audit_change() IS 'Trigger: adds a change of a row to the audit trail; its argument is the column that names the row.';
ALTER FUNCTION nexanest.audit_change() OWNER TO nexanest_definer;
SET LOCAL ROLE nexanest_definer; -- what its owner grants, only its owner can grant
GRANT EXECUTE ON FUNCTION nexanest.audit_change() TO nexanest_owner; -- later migrations make triggers of it
SET LOCAL ROLE nexanest_owner;
