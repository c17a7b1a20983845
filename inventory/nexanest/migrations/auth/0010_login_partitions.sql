-- Months of login_attempts: made ahead and dropped by jobs that run as the owner.
CREATE FUNCTION auth.make_login_partition(month date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    name text := to_char(month, '"login_attempts_"YYYY_MM');
    first timestamptz := month;
    next timestamptz := month + interval '1 month';
BEGIN
    -- Beside the parent, then attached: PARTITION OF would lock out every login until the end of the transaction.
    EXECUTE format('CREATE TABLE auth.%I (LIKE auth.login_attempts INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('COMMENT ON TABLE auth.%I IS %L', name, to_char(month, '"Attempts to log in, "YYYY-MM" (UTC)."'));
    EXECUTE format('REVOKE ALL ON auth.%I FROM auth_app, auth_readonly', name);
    EXECUTE format('INSERT INTO auth.%I SELECT * FROM auth.login_attempts_default WHERE attempted_at >= $1 AND attempted_at < $2', name) USING first, next;
    DELETE FROM auth.login_attempts_default WHERE attempted_at >= first AND attempted_at < next;
    EXECUTE format('ALTER TABLE auth.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE auth.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY own_rows ON auth.%I USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()))', name);
    EXECUTE format('ALTER TABLE auth.login_attempts ATTACH PARTITION auth.%I FOR VALUES FROM (%L) TO (%L)', name, first, next);
END;
$$;
COMMENT ON FUNCTION auth.make_login_partition(date) IS 'Makes the partition of one month, with row security and without rights, and moves what the default partition holds of it.';

CREATE FUNCTION auth.make_login_partitions(ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s'
AS $$
DECLARE
    -- Asked without reading rows, which row security would hide from the owner.
    strays boolean := pg_relation_size('auth.login_attempts_default') > 0;
    missing date[];
    month date;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('auth.make_login_partitions', 0));
    IF strays THEN
        -- Nobody sees the table in this state: the lock lasts to the end of the transaction, and so does the change.
        ALTER TABLE auth.login_attempts_default NO FORCE ROW LEVEL SECURITY;
    END IF;
    SELECT array_agg(wanted ORDER BY wanted) INTO missing FROM (
        SELECT (date_trunc('month', now()) + make_interval(months => n))::date AS wanted FROM generate_series(0, ahead) n
        UNION SELECT date_trunc('month', attempted_at)::date FROM auth.login_attempts_default
    ) months WHERE to_regclass(to_char(wanted, '"auth.login_attempts_"YYYY_MM')) IS NULL;
    FOREACH month IN ARRAY coalesce(missing, '{}') LOOP
        PERFORM auth.make_login_partition(month);
    END LOOP;
    IF strays THEN
        TRUNCATE auth.login_attempts_default; -- empty now; gives its pages back, which is how the next run knows
        ALTER TABLE auth.login_attempts_default FORCE ROW LEVEL SECURITY;
    END IF;
    RETURN coalesce(cardinality(missing), 0);
END;
$$;
COMMENT ON FUNCTION auth.make_login_partitions(integer) IS 'Makes the missing partitions of this month, of the months ahead, and of what the default partition holds; returns how many. Run daily by a job.';

CREATE FUNCTION auth.drop_login_partitions(keep interval DEFAULT '3 months') RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s'
AS $$
DECLARE
    old text[];
    name text;
BEGIN
    IF keep < interval '1 day' THEN
        RAISE EXCEPTION 'dropping old partitions: keep is %, but the rate limit needs at least a day', keep;
    END IF;
    SELECT array_agg(c.relname ORDER BY c.relname) INTO old
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'auth.login_attempts'::regclass AND c.relname ~ '^login_attempts_[0-9]{4}_[0-9]{2}$'
      AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= now() - keep;
    FOREACH name IN ARRAY coalesce(old, '{}') LOOP
        EXECUTE format('DROP TABLE auth.%I', name);
    END LOOP;
    RETURN coalesce(cardinality(old), 0);
END;
$$;
COMMENT ON FUNCTION auth.drop_login_partitions(interval) IS 'Drops the months that ended longer ago than `keep`; returns how many. Run daily by a job.';

REVOKE EXECUTE ON FUNCTION auth.make_login_partition(date), auth.make_login_partitions(integer), auth.drop_login_partitions(interval) FROM auth_app;
SELECT auth.make_login_partitions();
