-- The services of the product, as they announce themselves.
CREATE TABLE nexanest.services (
    service_name   text PRIMARY KEY,
    base_url       text NOT NULL,
    version        text NOT NULL,
    registered_at  timestamptz NOT NULL DEFAULT now(),
    last_seen_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT services_name_form CHECK (service_name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    CONSTRAINT services_base_url_form CHECK (base_url ~ '^https?://[^ ]+$' AND length(base_url) <= 500),
    CONSTRAINT services_version_filled CHECK (version <> '' AND length(version) <= 100)
);

COMMENT ON TABLE nexanest.services IS 'Service registry: where each service answers and when it was last seen.';
COMMENT ON COLUMN nexanest.services.last_seen_at IS 'Its latest sign of life; a service that is silent for minutes is down.';

CREATE TRIGGER services_audit AFTER INSERT OR DELETE OR UPDATE OF service_name, base_url, version, registered_at ON nexanest.services
    FOR EACH ROW EXECUTE FUNCTION nexanest.audit_change('service_name');
