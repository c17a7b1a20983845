-- A person's right to be forgotten: the owner's alone. The audit trail stays; it is append-only.
GRANT SELECT, DELETE ON nexanest.feature_flag_overrides TO nexanest_definer;

CREATE FUNCTION nexanest.erase_user(wanted uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM nexanest.feature_flag_overrides WHERE user_id = wanted;
$$;
COMMENT ON FUNCTION nexanest.erase_user(uuid) IS 'Removes all of a user but the audit trail. For the owner alone.';
REVOKE EXECUTE ON FUNCTION nexanest.erase_user(uuid) FROM nexanest_app;
ALTER FUNCTION nexanest.erase_user(uuid) OWNER TO nexanest_definer;
SET LOCAL ROLE nexanest_definer; -- what its owner grants, only its owner can grant
GRANT EXECUTE ON FUNCTION nexanest.erase_user(uuid) TO nexanest_owner;
SET LOCAL ROLE nexanest_owner;
