-- Old risk figures of all users, whom the owner cannot see: the definer does it.
CREATE FUNCTION analytics_ts.forget_risk_metrics(keep interval DEFAULT '2 years') RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    gone bigint;
BEGIN
    IF keep < interval '1 month' THEN
        RAISE EXCEPTION 'dropping old risk metrics: keep is %, it must be a month at least', keep;
    END IF;
    DELETE FROM analytics_ts.risk_metrics WHERE time < now() - keep;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END;
$$;
COMMENT ON FUNCTION analytics_ts.forget_risk_metrics(interval) IS 'Deletes risk metrics that are older than `keep`; returns how many. Run daily by a job.';

GRANT SELECT, DELETE ON analytics_ts.risk_metrics TO timescale_definer;
REVOKE EXECUTE ON FUNCTION analytics_ts.forget_risk_metrics(interval) FROM timescale_app;
ALTER FUNCTION analytics_ts.forget_risk_metrics(interval) OWNER TO timescale_definer;
SET LOCAL ROLE timescale_definer; -- what its owner grants, only its owner can grant
GRANT EXECUTE ON FUNCTION analytics_ts.forget_risk_metrics(interval) TO timescale_owner;
SET LOCAL ROLE timescale_owner;
