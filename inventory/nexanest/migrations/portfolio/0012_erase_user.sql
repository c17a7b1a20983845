-- A person's right to be forgotten, against the journal's to be kept: the owner decides, the service cannot.
GRANT SELECT, DELETE ON portfolio.transactions, portfolio.portfolios, portfolio.watchlists TO portfolio_definer;

CREATE FUNCTION portfolio.erase_user(wanted uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    erased bigint;
BEGIN
    DELETE FROM portfolio.transactions WHERE user_id = wanted;
    GET DIAGNOSTICS erased = ROW_COUNT;
    DELETE FROM portfolio.portfolios WHERE user_id = wanted; -- with holdings, snapshots, goals and rules
    DELETE FROM portfolio.watchlists WHERE user_id = wanted; -- with items and alerts
    RETURN erased;
END;
$$;
COMMENT ON FUNCTION portfolio.erase_user(uuid) IS 'Removes all of a user, the journal too; returns its rows. For the owner alone: keep what the law wants kept elsewhere first.';
REVOKE EXECUTE ON FUNCTION portfolio.erase_user(uuid) FROM portfolio_app;
ALTER FUNCTION portfolio.erase_user(uuid) OWNER TO portfolio_definer;
SET LOCAL ROLE portfolio_definer; -- what its owner grants, only its owner can grant
GRANT EXECUTE ON FUNCTION portfolio.erase_user(uuid) TO portfolio_owner;
SET LOCAL ROLE portfolio_owner;
