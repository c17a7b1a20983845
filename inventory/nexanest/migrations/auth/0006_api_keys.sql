-- API keys: <prefix>.<secret>. The prefix finds the row, the hash of the whole proves it.
CREATE TABLE auth.api_keys (
    user_id       uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    key_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    name          text NOT NULL,
    prefix        text NOT NULL,
    key_hash      bytea NOT NULL,
    scopes        text[] NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    last_used_at  timestamptz,
    revoked_at    timestamptz,
    PRIMARY KEY (user_id, key_id),
    CONSTRAINT api_keys_prefix_key UNIQUE (prefix),
    CONSTRAINT api_keys_name_filled CHECK (name <> '' AND length(name) <= 200),
    CONSTRAINT api_keys_prefix_form CHECK (prefix ~ '^[a-z0-9]{8,16}$'),
    CONSTRAINT api_keys_hash_length CHECK (octet_length(key_hash) = 32),
    CONSTRAINT api_keys_scopes_whole CHECK (array_position(scopes, NULL) IS NULL AND cardinality(scopes) <= 50),
    CONSTRAINT api_keys_expire_later CHECK (expires_at > created_at)
);

COMMENT ON TABLE auth.api_keys IS 'Keys with which a program acts for a user.';
COMMENT ON COLUMN auth.api_keys.prefix IS 'The public first part of the key, shown in lists.';
COMMENT ON COLUMN auth.api_keys.key_hash IS 'SHA-256 of the whole key; the key itself is shown once and is nowhere.';
COMMENT ON COLUMN auth.api_keys.scopes IS 'What the key may be used for, as portfolio:read.';
COMMENT ON COLUMN auth.api_keys.last_used_at IS 'To the minute: not every call writes a row.';

ALTER TABLE auth.api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON auth.api_keys USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

REVOKE ALL ON auth.api_keys FROM auth_app, auth_readonly;
GRANT SELECT (user_id, key_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at) ON auth.api_keys TO auth_app, auth_readonly;
GRANT INSERT (user_id, name, prefix, key_hash, scopes, expires_at), UPDATE (name) ON auth.api_keys TO auth_app;
GRANT SELECT, UPDATE ON auth.api_keys TO auth_definer;

CREATE FUNCTION auth.find_api_key(wanted_prefix text, presented_hash bytea)
RETURNS TABLE (user_id uuid, key_id uuid, scopes text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    held record;
BEGIN
    -- Hashes of both sides are compared: how long that takes tells nothing of the stored one.
    SELECT k.user_id, k.key_id, k.scopes, k.last_used_at INTO held
    FROM auth.api_keys k JOIN auth.users u ON u.user_id = k.user_id
    WHERE k.prefix = wanted_prefix AND sha256(k.key_hash) = sha256(presented_hash)
      AND k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true) AND u.status = 'active';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF coalesce(held.last_used_at < now() - interval '1 minute', true) THEN
        UPDATE auth.api_keys k SET last_used_at = now() WHERE k.user_id = held.user_id AND k.key_id = held.key_id;
    END IF;
    RETURN QUERY SELECT held.user_id, held.key_id, held.scopes;
END;
$$;
COMMENT ON FUNCTION auth.find_api_key(text, bytea) IS 'Whose API key it is, and what for; no row where it is unknown, revoked or expired, or the account is not active.';
ALTER FUNCTION auth.find_api_key(text, bytea) OWNER TO auth_definer;

CREATE FUNCTION auth.revoke_api_key(wanted uuid) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE auth.api_keys SET revoked_at = now() WHERE user_id = (SELECT session.user_id()) AND key_id = wanted AND revoked_at IS NULL RETURNING true
$$;
COMMENT ON FUNCTION auth.revoke_api_key(uuid) IS 'Revokes a key of the user who is set, for good; true where it was valid.';
ALTER FUNCTION auth.revoke_api_key(uuid) OWNER TO auth_definer;
