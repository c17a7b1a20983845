-- The journal. Rows are added and never changed; what was wrong is reversed by another row.
CREATE TABLE portfolio.transactions (
    user_id          uuid NOT NULL,
    transaction_id   uuid NOT NULL DEFAULT gen_random_uuid(),
    portfolio_id     uuid NOT NULL,
    kind             text NOT NULL,
    symbol           portfolio.symbol,
    quantity         portfolio.quantity,
    price            portfolio.price,
    fee              portfolio.amount NOT NULL DEFAULT 0,
    amount           portfolio.amount NOT NULL,
    currency         portfolio.currency_code NOT NULL,
    occurred_at      timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL DEFAULT now(),
    idempotency_key  text NOT NULL,
    reverses         uuid,
    note             text,
    PRIMARY KEY (user_id, transaction_id),
    CONSTRAINT transactions_idempotency_key UNIQUE (user_id, idempotency_key),
    CONSTRAINT transactions_reversed_once UNIQUE (user_id, reverses),
    CONSTRAINT transactions_portfolio_fkey FOREIGN KEY (user_id, portfolio_id) REFERENCES portfolio.portfolios (user_id, portfolio_id),
    CONSTRAINT transactions_reverses_fkey FOREIGN KEY (user_id, reverses) REFERENCES portfolio.transactions (user_id, transaction_id),
    CONSTRAINT transactions_kind_known CHECK (kind IN ('deposit', 'withdrawal', 'buy', 'sell', 'dividend', 'interest', 'fee', 'tax')),
    CONSTRAINT transactions_trade_complete CHECK (
        CASE WHEN kind IN ('buy', 'sell') THEN num_nonnulls(symbol, quantity, price) = 3
             WHEN kind = 'dividend' THEN symbol IS NOT NULL AND num_nonnulls(quantity, price) = 0
             ELSE num_nonnulls(symbol, quantity, price) = 0 END),
    -- A reversal has the opposite sign of what it reverses.
    CONSTRAINT transactions_quantity_sign CHECK (sign(quantity) = CASE kind WHEN 'buy' THEN 1 ELSE -1 END * CASE WHEN reverses IS NULL THEN 1 ELSE -1 END),
    -- A sale may cost more than it brings; a tiny purchase may round to nothing.
    CONSTRAINT transactions_amount_sign CHECK (
        kind = 'sell' OR kind = 'buy' AND amount = 0 OR
        sign(amount) = CASE WHEN kind IN ('deposit', 'dividend', 'interest') THEN 1 ELSE -1 END * CASE WHEN reverses IS NULL THEN 1 ELSE -1 END),
    CONSTRAINT transactions_fee_not_negative CHECK (fee >= 0),
    CONSTRAINT transactions_idempotency_key_filled CHECK (idempotency_key <> '' AND length(idempotency_key) <= 200),
    CONSTRAINT transactions_not_in_the_future CHECK (occurred_at <= recorded_at + interval '1 day')
);

COMMENT ON TABLE portfolio.transactions IS 'All that happened in portfolios, append-only.';
COMMENT ON COLUMN portfolio.transactions.quantity IS 'Change of the holding: positive for a purchase, negative for a sale.';
COMMENT ON COLUMN portfolio.transactions.amount IS 'Change of the cash, fee included: negative for a purchase, positive for a sale.';
COMMENT ON COLUMN portfolio.transactions.fee IS 'Part of amount, for information.';
COMMENT ON COLUMN portfolio.transactions.occurred_at IS 'When it happened on the market; recorded_at is when it was written here.';
COMMENT ON COLUMN portfolio.transactions.idempotency_key IS 'Chosen by the client: the same request sent twice is one row.';
COMMENT ON COLUMN portfolio.transactions.reverses IS 'The transaction that this one undoes.';

CREATE INDEX transactions_portfolio_idx ON portfolio.transactions (user_id, portfolio_id, occurred_at DESC);

ALTER TABLE portfolio.transactions ENABLE ROW LEVEL SECURITY;
ALTER TABLE portfolio.transactions FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON portfolio.transactions USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

-- No right to change or remove, and a trigger for those who need no right: the owner, and whoever grants more one day.
REVOKE UPDATE, DELETE ON portfolio.transactions FROM portfolio_app;
CREATE FUNCTION portfolio.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The definer's role is reached by portfolio.erase_user alone.
    IF current_user = 'portfolio_definer' AND TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of %.% is refused: it is append-only; reverse a transaction by another one', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END;
$$;
COMMENT ON FUNCTION portfolio.refuse_change() IS 'Trigger: keeps a table append-only.';
CREATE TRIGGER transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON portfolio.transactions
    FOR EACH STATEMENT EXECUTE FUNCTION portfolio.refuse_change();
