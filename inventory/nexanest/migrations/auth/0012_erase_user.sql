-- A person's right to be forgotten, last of all databases: the account says whose the rows elsewhere are. Row security hides it from the owner.
GRANT DELETE ON auth.users, auth.login_attempts TO auth_definer;

CREATE FUNCTION auth.erase_user(wanted uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    address text;
BEGIN
    DELETE FROM auth.users WHERE user_id = wanted RETURNING email INTO address; -- with all that hangs on it
    -- Attempts from before the account was made belong to its address alone.
    DELETE FROM auth.login_attempts WHERE user_id IS NULL AND email_hash = sha256(convert_to(address, 'UTF8'));
    RETURN address IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION auth.erase_user(uuid) IS 'Removes an account and all of its user; true where there was one. For the owner alone.';
REVOKE EXECUTE ON FUNCTION auth.erase_user(uuid) FROM auth_app;
ALTER FUNCTION auth.erase_user(uuid) OWNER TO auth_definer;
SET LOCAL ROLE auth_definer; -- what its owner grants, only its owner can grant
GRANT EXECUTE ON FUNCTION auth.erase_user(uuid) TO auth_owner;
SET LOCAL ROLE auth_owner;
