-- What a user says of themselves: the service writes it directly, as the user.
CREATE TABLE auth.user_profiles (
    user_id        uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE,
    display_name   text NOT NULL,
    locale         text NOT NULL DEFAULT 'en',
    time_zone      text NOT NULL DEFAULT 'UTC',
    base_currency  text NOT NULL DEFAULT 'USD',
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_profiles_display_name_filled CHECK (display_name <> '' AND length(display_name) <= 200),
    CONSTRAINT user_profiles_locale_form CHECK (locale ~ '^[a-z]{2}(-[A-Z]{2})?$'),
    CONSTRAINT user_profiles_time_zone_filled CHECK (time_zone <> '' AND length(time_zone) <= 64),
    CONSTRAINT user_profiles_base_currency_form CHECK (base_currency ~ '^[A-Z]{3}$')
);

COMMENT ON TABLE auth.user_profiles IS 'What a user says of themselves; one row per user at most.';
COMMENT ON COLUMN auth.user_profiles.time_zone IS 'Name of the tz database, as Europe/Zurich.';
COMMENT ON COLUMN auth.user_profiles.base_currency IS 'ISO 4217 code in which totals are shown.';

CREATE TRIGGER user_profiles_touch BEFORE UPDATE ON auth.user_profiles FOR EACH ROW EXECUTE FUNCTION auth.touch();

ALTER TABLE auth.user_profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.user_profiles FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON auth.user_profiles USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
