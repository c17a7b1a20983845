-- A person's right to be forgotten: the owner's alone.
GRANT SELECT, DELETE ON analytics.report_definitions, analytics.metric_aggregates TO analytics_definer;

CREATE FUNCTION analytics.erase_user(wanted uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM analytics.report_definitions WHERE user_id = wanted; -- with their runs
    DELETE FROM analytics.metric_aggregates WHERE user_id = wanted;
$$;
COMMENT ON FUNCTION analytics.erase_user(uuid) IS 'Removes all of a user. For the owner alone.';
REVOKE EXECUTE ON FUNCTION analytics.erase_user(uuid) FROM analytics_app;
ALTER FUNCTION analytics.erase_user(uuid) OWNER TO analytics_definer;
SET LOCAL ROLE analytics_definer; -- what its owner grants, only its owner can grant
GRANT EXECUTE ON FUNCTION analytics.erase_user(uuid) TO analytics_owner;
SET LOCAL ROLE analytics_owner;
