-- A reversal is the exact opposite of one transaction, once.
CREATE FUNCTION portfolio.check_reversal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    original portfolio.transactions;
BEGIN
    SELECT * INTO original FROM portfolio.transactions WHERE user_id = NEW.user_id AND transaction_id = NEW.reverses;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'reversing %: there is no such transaction', NEW.reverses USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF original.reverses IS NOT NULL THEN
        RAISE EXCEPTION 'reversing %: it is a reversal itself; record the transaction anew instead', NEW.reverses USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.portfolio_id, NEW.kind, NEW.symbol, NEW.price, NEW.fee, NEW.currency, NEW.quantity, NEW.amount) IS DISTINCT FROM
       (original.portfolio_id, original.kind, original.symbol, original.price, original.fee, original.currency, -original.quantity, -original.amount) THEN
        RAISE EXCEPTION 'reversing %: the row is not its exact opposite; use portfolio.reverse_transaction', NEW.reverses USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION portfolio.check_reversal() IS 'Trigger: a reversal is the exact opposite of what it reverses.';
CREATE TRIGGER transactions_check_reversal BEFORE INSERT ON portfolio.transactions
    FOR EACH ROW WHEN (NEW.reverses IS NOT NULL) EXECUTE FUNCTION portfolio.check_reversal();

CREATE FUNCTION portfolio.reverse_transaction(wanted uuid, key text, why text DEFAULT NULL) RETURNS uuid
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO portfolio.transactions
        (user_id, portfolio_id, kind, symbol, quantity, price, fee, amount, currency, occurred_at, idempotency_key, reverses, note)
    SELECT user_id, portfolio_id, kind, symbol, -quantity, price, fee, -amount, currency, now(), key, transaction_id, why
    FROM portfolio.transactions WHERE user_id = (SELECT session.user_id()) AND transaction_id = wanted
    RETURNING transaction_id
$$;
COMMENT ON FUNCTION portfolio.reverse_transaction(uuid, text, text) IS
    'Undoes a transaction of the user who is set by its opposite, under an idempotency key; returns the new transaction, NULL where there is no such one.';
