-- Each user sees their own notes; how many there are, a function of the definer knows.
CREATE TABLE shop.notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL,
    text text NOT NULL
);
CREATE INDEX notes_user_id ON shop.notes (user_id);
ALTER TABLE shop.notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE shop.notes FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON shop.notes USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

GRANT SELECT ON shop.notes TO shop_definer;
CREATE FUNCTION shop.all_notes() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT count(*) FROM shop.notes';
ALTER FUNCTION shop.all_notes() OWNER TO shop_definer;
