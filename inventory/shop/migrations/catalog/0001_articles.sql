-- What the shop sells.
CREATE TABLE catalog.articles (
    article_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku         text NOT NULL UNIQUE CHECK (sku = upper(sku) AND sku <> ''),
    title       text NOT NULL CHECK (title <> ''),
    price       numeric(12, 2) NOT NULL CHECK (price >= 0),
    currency    char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at  timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE catalog.articles IS 'Articles on offer, one row each.';
COMMENT ON COLUMN catalog.articles.sku IS 'Stock keeping unit, upper case.';

CREATE INDEX articles_created_at_idx ON catalog.articles (created_at);
