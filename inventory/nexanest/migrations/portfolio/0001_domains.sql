-- What all tables of this service are made of. Exact numerics: a float has no place in money.
CREATE DOMAIN portfolio.currency_code AS text CONSTRAINT currency_code_form CHECK (VALUE ~ '^[A-Z]{3}$');
COMMENT ON DOMAIN portfolio.currency_code IS 'ISO 4217 code.';

CREATE DOMAIN portfolio.symbol AS text CONSTRAINT symbol_form CHECK (VALUE = upper(VALUE) AND VALUE <> '' AND length(VALUE) <= 32);
COMMENT ON DOMAIN portfolio.symbol IS 'Ticker in capitals, as in market_data of the TimescaleDB.';

CREATE DOMAIN portfolio.quantity AS numeric(28, 10);
COMMENT ON DOMAIN portfolio.quantity IS 'Pieces of an asset; fractions down to 1e-10.';

CREATE DOMAIN portfolio.price AS numeric(20, 8) CONSTRAINT price_positive CHECK (VALUE > 0);
COMMENT ON DOMAIN portfolio.price IS 'Price of one piece; its currency stands beside it.';

CREATE DOMAIN portfolio.amount AS numeric(20, 4);
COMMENT ON DOMAIN portfolio.amount IS 'Money; its currency stands beside it.';

CREATE FUNCTION portfolio.touch() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION portfolio.touch() IS 'Trigger: sets updated_at.';
