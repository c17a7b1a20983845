-- Symbols that a user watches, and alerts on them.
CREATE TABLE portfolio.watchlists (
    user_id       uuid NOT NULL,
    watchlist_id  uuid NOT NULL DEFAULT gen_random_uuid(),
    name          text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, watchlist_id),
    CONSTRAINT watchlists_name_key UNIQUE (user_id, name),
    CONSTRAINT watchlists_name_filled CHECK (name <> '' AND length(name) <= 200)
);
COMMENT ON TABLE portfolio.watchlists IS 'Named lists of symbols that a user watches.';

CREATE TABLE portfolio.watchlist_items (
    user_id       uuid NOT NULL,
    watchlist_id  uuid NOT NULL,
    symbol        portfolio.symbol NOT NULL,
    note          text,
    added_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, watchlist_id, symbol),
    CONSTRAINT watchlist_items_watchlist_fkey
        FOREIGN KEY (user_id, watchlist_id) REFERENCES portfolio.watchlists (user_id, watchlist_id) ON DELETE CASCADE
);
COMMENT ON TABLE portfolio.watchlist_items IS 'The symbols of watchlists.';

CREATE TABLE portfolio.watchlist_alerts (
    user_id       uuid NOT NULL,
    alert_id      uuid NOT NULL DEFAULT gen_random_uuid(),
    watchlist_id  uuid NOT NULL,
    symbol        portfolio.symbol NOT NULL,
    direction     text NOT NULL,
    threshold     portfolio.price NOT NULL,
    currency      portfolio.currency_code NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    triggered_at  timestamptz,
    PRIMARY KEY (user_id, alert_id),
    CONSTRAINT watchlist_alerts_item_fkey
        FOREIGN KEY (user_id, watchlist_id, symbol) REFERENCES portfolio.watchlist_items (user_id, watchlist_id, symbol) ON DELETE CASCADE,
    CONSTRAINT watchlist_alerts_direction_known CHECK (direction IN ('above', 'below'))
);
COMMENT ON TABLE portfolio.watchlist_alerts IS 'Prices at which a user wants to hear of a symbol, once each.';
COMMENT ON COLUMN portfolio.watchlist_alerts.triggered_at IS 'When the price was met; NULL while the alert waits.';

CREATE INDEX watchlist_alerts_item_idx ON portfolio.watchlist_alerts (user_id, watchlist_id, symbol);
CREATE INDEX watchlist_alerts_waiting_idx ON portfolio.watchlist_alerts (symbol, currency, direction, threshold) WHERE triggered_at IS NULL;
CREATE TRIGGER watchlists_touch BEFORE UPDATE ON portfolio.watchlists FOR EACH ROW EXECUTE FUNCTION portfolio.touch();

ALTER TABLE portfolio.watchlists ENABLE ROW LEVEL SECURITY;
ALTER TABLE portfolio.watchlists FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON portfolio.watchlists USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
ALTER TABLE portfolio.watchlist_items ENABLE ROW LEVEL SECURITY;
ALTER TABLE portfolio.watchlist_items FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON portfolio.watchlist_items USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
ALTER TABLE portfolio.watchlist_alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE portfolio.watchlist_alerts FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON portfolio.watchlist_alerts USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

-- A price comes in for all users at once. The worker learns whose alerts are met, not what stands in them: that it reads as each user.
GRANT SELECT, UPDATE ON portfolio.watchlist_alerts TO portfolio_definer;
CREATE FUNCTION portfolio.claim_alerts(priced text, price_currency text, price_now numeric) RETURNS TABLE (user_id uuid, alert_id uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE portfolio.watchlist_alerts a SET triggered_at = now()
    WHERE a.symbol = priced AND a.currency = price_currency AND a.triggered_at IS NULL
      AND CASE a.direction WHEN 'above' THEN price_now >= a.threshold ELSE price_now <= a.threshold END
    RETURNING a.user_id, a.alert_id
$$;
COMMENT ON FUNCTION portfolio.claim_alerts(text, text, numeric) IS 'Marks the alerts that a price meets, of all users, and returns their keys, each once.';
ALTER FUNCTION portfolio.claim_alerts(text, text, numeric) OWNER TO portfolio_definer;
