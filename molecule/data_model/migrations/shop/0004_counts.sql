-- What the scheduled job fills.
CREATE TABLE shop.counts (
    counted_at timestamptz NOT NULL DEFAULT now(),
    counted_by name NOT NULL DEFAULT current_user,
    orders bigint NOT NULL
);
CREATE FUNCTION shop.count_orders() RETURNS void LANGUAGE sql AS 'INSERT INTO shop.counts (orders) SELECT count(*) FROM shop.orders';
