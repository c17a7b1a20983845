-- Accounts. What belongs to a person hangs on users and goes with them.
CREATE TABLE auth.users (
    user_id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email              text NOT NULL,
    password_hash      text NOT NULL,
    status             text NOT NULL DEFAULT 'pending',
    email_verified_at  timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_email_key UNIQUE (email),
    -- Lower-cased text instead of citext: its comparisons are leakproof, so row security can use the index.
    CONSTRAINT users_email_lower CHECK (email = lower(email) AND email LIKE '_%@_%' AND length(email) <= 254),
    -- A hash in PHC form ($argon2id$…); a password in clear cannot be stored.
    CONSTRAINT users_password_hash_form CHECK (password_hash ~ '^\$[a-z0-9-]+\$'),
    CONSTRAINT users_status_known CHECK (status IN ('pending', 'active', 'locked', 'closed'))
);

COMMENT ON TABLE auth.users IS 'User accounts, one row each.';
COMMENT ON COLUMN auth.users.email IS 'Login name, lower case.';
COMMENT ON COLUMN auth.users.password_hash IS 'Password hash in PHC string form.';
COMMENT ON COLUMN auth.users.status IS 'pending (e-mail not verified), active, locked or closed.';

CREATE TABLE auth.user_profiles (
    user_id       uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE,
    display_name  text NOT NULL CHECK (display_name <> ''),
    locale        text NOT NULL DEFAULT 'en' CHECK (locale ~ '^[a-z]{2}(-[A-Z]{2})?$'),
    time_zone     text NOT NULL DEFAULT 'UTC',
    base_currency char(3) NOT NULL DEFAULT 'USD' CHECK (base_currency ~ '^[A-Z]{3}$'),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE auth.user_profiles IS 'What a user says of themselves; one row per user at most.';
