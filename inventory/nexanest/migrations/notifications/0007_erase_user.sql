-- A person's right to be forgotten: the owner's alone.
GRANT SELECT, DELETE ON notifications.channels, notifications.preferences, notifications.outbox TO notifications_definer;

CREATE FUNCTION notifications.erase_user(wanted uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM notifications.outbox WHERE user_id = wanted; -- with deliveries
    DELETE FROM notifications.channels WHERE user_id = wanted;
    DELETE FROM notifications.preferences WHERE user_id = wanted;
$$;
COMMENT ON FUNCTION notifications.erase_user(uuid) IS 'Removes all of a user. For the owner alone.';
REVOKE EXECUTE ON FUNCTION notifications.erase_user(uuid) FROM notifications_app;
ALTER FUNCTION notifications.erase_user(uuid) OWNER TO notifications_definer;
SET LOCAL ROLE notifications_definer; -- what its owner grants, only its owner can grant
GRANT EXECUTE ON FUNCTION notifications.erase_user(uuid) TO notifications_owner;
SET LOCAL ROLE notifications_owner;
