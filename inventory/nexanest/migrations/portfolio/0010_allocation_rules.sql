-- How a portfolio shall be divided. At the commit its weights add up to one, or there are none.
CREATE TABLE portfolio.allocation_rules (
    user_id       uuid NOT NULL,
    portfolio_id  uuid NOT NULL,
    asset_class   text NOT NULL,
    weight        numeric(7, 6) NOT NULL,
    tolerance     numeric(7, 6) NOT NULL DEFAULT 0.05,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, portfolio_id, asset_class),
    CONSTRAINT allocation_rules_portfolio_fkey
        FOREIGN KEY (user_id, portfolio_id) REFERENCES portfolio.portfolios (user_id, portfolio_id) ON DELETE CASCADE,
    CONSTRAINT allocation_rules_asset_class_known CHECK (asset_class IN ('equity', 'bond', 'cash', 'commodity', 'real_estate', 'crypto', 'other')),
    CONSTRAINT allocation_rules_weight_range CHECK (weight > 0 AND weight <= 1),
    CONSTRAINT allocation_rules_tolerance_range CHECK (tolerance >= 0 AND tolerance <= 1)
);

COMMENT ON TABLE portfolio.allocation_rules IS 'Target weights of asset classes in portfolios.';
COMMENT ON COLUMN portfolio.allocation_rules.weight IS 'Share of the portfolio; all of one portfolio add up to exactly 1.';
COMMENT ON COLUMN portfolio.allocation_rules.tolerance IS 'How far the share may drift before it is reported.';

CREATE TRIGGER allocation_rules_touch BEFORE UPDATE ON portfolio.allocation_rules FOR EACH ROW EXECUTE FUNCTION portfolio.touch();

ALTER TABLE portfolio.allocation_rules ENABLE ROW LEVEL SECURITY;
ALTER TABLE portfolio.allocation_rules FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON portfolio.allocation_rules USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

GRANT SELECT ON portfolio.allocation_rules TO portfolio_definer;
GRANT SELECT, UPDATE ON portfolio.portfolios TO portfolio_definer;
-- A definer function: at the commit another user may be set than the one whose rows changed, and row security would hide them.
CREATE FUNCTION portfolio.check_weights() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    touched record;
    total numeric;
BEGIN
    FOR touched IN
        SELECT r.user_id, r.portfolio_id FROM (VALUES (OLD.user_id, OLD.portfolio_id), (NEW.user_id, NEW.portfolio_id)) r (user_id, portfolio_id)
        WHERE r.user_id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
    LOOP
        -- Writing the portfolio's row makes two transactions that change one portfolio's rules wait for each other, at any isolation level.
        UPDATE portfolio.portfolios SET updated_at = now() WHERE user_id = touched.user_id AND portfolio_id = touched.portfolio_id;
        SELECT sum(weight) INTO total FROM portfolio.allocation_rules WHERE user_id = touched.user_id AND portfolio_id = touched.portfolio_id;
        IF total <> 1 THEN
            RAISE EXCEPTION 'the weights of portfolio % add up to %, not to 1; change them in one transaction', touched.portfolio_id, total
                USING ERRCODE = 'check_violation', CONSTRAINT = 'allocation_rules_add_up';
        END IF;
    END LOOP;
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION portfolio.check_weights() IS 'Trigger: the weights of a portfolio add up to 1.';
CREATE CONSTRAINT TRIGGER allocation_rules_add_up AFTER INSERT OR UPDATE OR DELETE ON portfolio.allocation_rules
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION portfolio.check_weights();
ALTER FUNCTION portfolio.check_weights() OWNER TO portfolio_definer;
