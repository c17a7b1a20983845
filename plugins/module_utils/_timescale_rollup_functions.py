# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions of the schema `_rollup`: aggregates and retention on TimescaleDB's Apache edition.

They run as the owner of the tables, never as the administrator: what they evaluate was written by that owner.
Why the numbers are right: docs/decisions/rollups-without-a-licence.md.
"""

from __future__ import annotations

# Borders of buckets. {extension} is the schema of TimescaleDB's functions.
BUCKETS = """
CREATE OR REPLACE FUNCTION _rollup.bucket(width interval, zone text, moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN zone IS NULL THEN {extension}.time_bucket(width, moment) ELSE {extension}.time_bucket(width, moment, zone) END;
END;

-- The first border at or after a moment. Days of 25 hours and months need the second try.
CREATE OR REPLACE FUNCTION _rollup.ceiling(width interval, zone text, moment timestamptz) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    floor_of timestamptz := _rollup.bucket(width, zone, moment);
    next_of timestamptz;
BEGIN
    IF floor_of = moment OR NOT isfinite(moment) THEN
        RETURN moment;
    END IF;
    next_of := _rollup.bucket(width, zone, moment + width);
    RETURN CASE WHEN next_of > floor_of THEN next_of ELSE _rollup.bucket(width, zone, moment + 2 * width) END;
END;
$$;

CREATE OR REPLACE FUNCTION _rollup.widen(width interval, zone text, ranges tstzmultirange) RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(range_agg(tstzrange(_rollup.bucket(width, zone, lower(r)), _rollup.ceiling(width, zone, upper(r)))), '{{}}') FROM unnest(ranges) AS r;
$$;

CREATE OR REPLACE FUNCTION _rollup.watermark(aggregate integer) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT watermark FROM _rollup.aggregates WHERE id = aggregate;
$$;
"""

# Which parts of a hypertable have changed since the last look.
COLLECT = """
CREATE OR REPLACE FUNCTION _rollup.relation(declared text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%I.%I', split_part(declared, '.', 1), split_part(declared, '.', 2));
$$;

CREATE OR REPLACE FUNCTION _rollup.truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE _rollup.hypertables SET truncated = true WHERE name = TG_ARGV[0];
    RETURN NULL;
END;
$$;

-- Counters say nothing across a reset, a crash, a restore or a promotion. Each of these changes this text.
CREATE OR REPLACE FUNCTION _rollup.epoch() RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%s %s %s %s %s', (SELECT system_identifier FROM pg_control_system()), d.oid,
                  extract(epoch FROM (SELECT stats_reset FROM pg_stat_bgwriter)), extract(epoch FROM pg_stat_get_db_stat_reset_time(d.oid)),
                  CASE WHEN current_setting('track_counts') <> 'on' THEN gen_random_uuid() END)
    FROM pg_database AS d WHERE d.datname = current_database();
$$;

-- Counters as they are: first the epoch, then the counts, so that a reset between the two is seen the next time.
CREATE OR REPLACE FUNCTION _rollup.counters(of_hypertable text)
RETURNS TABLE (chunk_schema name, chunk_name name, covers tstzrange, storage text, inserted bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET stats_fetch_consistency = 'none' SET timezone = 'UTC' AS $$
DECLARE
    epoch text := _rollup.epoch();
BEGIN
    RETURN QUERY
    SELECT c.chunk_schema, c.chunk_name, tstzrange(c.range_start, c.range_end),
           concat_ws('/', epoch, r.oid, pg_relation_filenode(r.oid), c.range_start, c.range_end,
                     pg_stat_get_tuples_updated(r.oid) + pg_stat_get_xact_tuples_updated(r.oid),
                     pg_stat_get_tuples_deleted(r.oid) + pg_stat_get_xact_tuples_deleted(r.oid)),
           pg_stat_get_tuples_inserted(r.oid) + pg_stat_get_xact_tuples_inserted(r.oid)
    FROM timescaledb_information.chunks AS c
    JOIN pg_namespace AS n ON n.nspname = c.chunk_schema
    JOIN pg_class AS r ON r.relnamespace = n.oid AND r.relname = c.chunk_name
    WHERE c.hypertable_schema = split_part(of_hypertable, '.', 1) AND c.hypertable_name = split_part(of_hypertable, '.', 2);
END;
$$;

-- Where only rows were added, the part of the chunk in which transactions wrote that had not ended at the last look; else the whole chunk.
CREATE OR REPLACE FUNCTION _rollup.added(chunk regclass, time_column name, covers tstzrange, seen xid8) RETURNS tstzrange
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    since bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint - seen::text::bigint;
    found tstzrange;
BEGIN
    -- Row headers hold 32 bits of a transaction's number.
    IF since > 1000000000 THEN
        RETURN covers;
    END IF;
    EXECUTE format('SELECT tstzrange(min(%1$I), max(%1$I), ''[]'') FROM %2$s WHERE age(xmin) <= $1', time_column, chunk)
    INTO found USING age((seen::text::bigint % 4294967296)::text::xid);
    -- The upper end is a row's own time: just behind it.
    RETURN CASE WHEN lower(found) IS NULL THEN 'empty' ELSE tstzrange(lower(found), upper(found) + interval '1 microsecond') END;
END;
$$;

-- Adds what has changed to `pending`, and remembers the counters. Returns the number of chunks that changed.
CREATE OR REPLACE FUNCTION _rollup.collect(of_hypertable text) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    hypertable _rollup.hypertables;
    chunk record;
    changed tstzmultirange := '{{}}';
    changes integer := 0;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'refreshing % needs the isolation level read committed: a snapshot from before the counters would miss rows', of_hypertable;
    END IF;
    -- The table before our own rows, as TRUNCATE has it when its trigger runs.
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS SHARE MODE', _rollup.relation(of_hypertable));
    SELECT * INTO STRICT hypertable FROM _rollup.hypertables WHERE name = of_hypertable FOR NO KEY UPDATE;
    FOR chunk IN
        SELECT f.*, s.storage IS NOT DISTINCT FROM f.storage AS only_added, s.seen
        FROM _rollup.counters(of_hypertable) AS f LEFT JOIN _rollup.chunks AS s USING (chunk_schema, chunk_name)
        WHERE (f.storage, f.inserted) IS DISTINCT FROM (s.storage, s.inserted)
    LOOP
        changes := changes + 1;
        -- This snapshot is younger than the counters, and older than the one that reads the rows.
        INSERT INTO _rollup.chunks (hypertable, chunk_schema, chunk_name, storage, inserted, seen)
        VALUES (of_hypertable, chunk.chunk_schema, chunk.chunk_name, chunk.storage, chunk.inserted, pg_snapshot_xmin(pg_current_snapshot()))
        ON CONFLICT (chunk_schema, chunk_name) DO UPDATE SET storage = excluded.storage, inserted = excluded.inserted, seen = excluded.seen;
        changed := changed + CASE WHEN chunk.only_added
            THEN tstzmultirange(_rollup.added(format('%I.%I', chunk.chunk_schema, chunk.chunk_name), hypertable.time_column, chunk.covers, chunk.seen))
            ELSE tstzmultirange(chunk.covers) END;
    END LOOP;
    DELETE FROM _rollup.chunks AS s WHERE s.hypertable = of_hypertable AND to_regclass(format('%I.%I', s.chunk_schema, s.chunk_name)) IS NULL;
    IF hypertable.truncated THEN
        changed := '{{(,)}}';
        UPDATE _rollup.hypertables SET truncated = false WHERE name = of_hypertable;
    END IF;
    IF NOT isempty(changed) THEN
        UPDATE _rollup.aggregates AS a SET pending = a.pending + _rollup.widen(a.bucket, a.timezone, changed)
        WHERE a.hypertable = of_hypertable AND a.parent IS NULL AND NOT a.native;
    END IF;
    RETURN changes;
END;
$$;
"""

# One piece of work each, in the caller's transaction. Rows are locked FOR NO KEY UPDATE: a row that one transaction changes twice has its foreign
# keys checked though they stay (FOR KEY SHARE), and that must not wait for a holder who waits for this transaction.
PIECES = """
-- Makes the rows of one range anew. The caller holds the aggregate's row, so that this statement's snapshot is younger than every counter behind `pending`.
CREATE OR REPLACE FUNCTION _rollup.materialise(aggregate integer, piece tstzrange) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    low timestamptz := coalesce(lower(piece), '-infinity');
    high timestamptz := coalesce(upper(piece), 'infinity');
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'refreshing needs the isolation level read committed: a snapshot from before the counters would miss rows';
    END IF;
    EXECUTE format('DELETE FROM _rollup.rows_%s WHERE bucket >= $1 AND bucket < $2', aggregate) USING low, high;
    EXECUTE format('INSERT INTO _rollup.rows_%1$s SELECT * FROM _rollup.source_%1$s($1, $2)', aggregate) USING low, high;
    UPDATE _rollup.aggregates SET pending = pending - tstzmultirange(piece) WHERE id = aggregate;
    UPDATE _rollup.aggregates AS child SET pending = child.pending + _rollup.widen(child.bucket, child.timezone, tstzmultirange(piece))
    WHERE child.parent = aggregate;
END;
$$;

-- The oldest pending piece of the window: about one chunk. False when there is none.
CREATE OR REPLACE FUNCTION _rollup.refresh_piece(aggregate integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    a _rollup.aggregates;
    target timestamptz;
    low timestamptz;
    todo tstzrange;
    border timestamptz;
BEGIN
    -- The source before our own rows, as TRUNCATE has it when its trigger runs.
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS SHARE MODE', (SELECT _rollup.relation(hypertable) FROM _rollup.aggregates WHERE id = aggregate));
    SELECT * INTO STRICT a FROM _rollup.aggregates WHERE id = aggregate FOR NO KEY UPDATE;
    target := _rollup.bucket(a.bucket, a.timezone, statement_timestamp() - a.end_offset);
    IF a.parent IS NOT NULL THEN
        target := least(target, _rollup.bucket(a.bucket, a.timezone, _rollup.watermark(a.parent)));
    END IF;
    IF target = '-infinity' THEN
        RETURN false;
    END IF;
    -- A window never begins behind the watermark: what lies between would be missing.
    low := CASE WHEN a.start_offset IS NOT NULL
                THEN nullif(least(_rollup.bucket(a.bucket, a.timezone, statement_timestamp() - a.start_offset), a.watermark), '-infinity') END;
    IF low >= target THEN
        RETURN false;
    END IF;
    SELECT r INTO todo FROM unnest((a.pending - a.frozen) * tstzmultirange(tstzrange(low, target))) AS r ORDER BY r LIMIT 1;
    IF todo IS NULL THEN
        RETURN false;
    END IF;
    IF a.parent IS NULL THEN
        SELECT min(edge) INTO border
        FROM (SELECT _rollup.ceiling(a.bucket, a.timezone, c.range_end) AS edge FROM timescaledb_information.chunks AS c
              WHERE c.hypertable_schema = split_part(a.hypertable, '.', 1) AND c.hypertable_name = split_part(a.hypertable, '.', 2)) AS edges
        WHERE edge > coalesce(lower(todo), '-infinity');
        todo := todo * tstzrange(NULL, border);
    END IF;
    PERFORM _rollup.materialise(aggregate, todo);
    UPDATE _rollup.aggregates SET watermark = greatest(watermark, upper(todo)) WHERE id = aggregate;
    RETURN true;
END;
$$;

-- What is made from an aggregate follows it at once, also behind its own window: later its source may be gone.
CREATE OR REPLACE FUNCTION _rollup.complete(aggregate integer, ranges tstzmultirange) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    child _rollup.aggregates;
    todo tstzmultirange;
    piece tstzrange;
BEGIN
    FOR child IN SELECT * FROM _rollup.aggregates WHERE parent = aggregate ORDER BY id FOR NO KEY UPDATE LOOP
        todo := (child.pending - child.frozen) * _rollup.widen(child.bucket, child.timezone, ranges)
                * tstzmultirange(tstzrange(NULL, nullif(child.watermark, '-infinity')));
        CONTINUE WHEN child.watermark = '-infinity';
        FOR piece IN SELECT * FROM unnest(todo) LOOP
            PERFORM _rollup.materialise(child.id, piece);
        END LOOP;
        PERFORM _rollup.complete(child.id, todo);
    END LOOP;
END;
$$;

-- Closes the oldest chunk that retention may drop: its buckets are made a last time, from rows that nobody can change meanwhile.
CREATE OR REPLACE FUNCTION _rollup.drop_piece(of_hypertable text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '10s' AS $$
DECLARE
    h _rollup.hypertables;
    covers tstzrange;
    closing tstzmultirange;
    chunk record;
    a _rollup.aggregates;
    piece tstzrange;
BEGIN
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS SHARE MODE', _rollup.relation(of_hypertable));
    SELECT * INTO STRICT h FROM _rollup.hypertables WHERE name = of_hypertable FOR NO KEY UPDATE;
    SELECT tstzrange(c.range_start, c.range_end) INTO covers FROM timescaledb_information.chunks AS c
    WHERE c.hypertable_schema = split_part(of_hypertable, '.', 1) AND c.hypertable_name = split_part(of_hypertable, '.', 2)
      AND c.range_end <= statement_timestamp() - h.drop_after
    ORDER BY c.range_start LIMIT 1;
    IF covers IS NULL THEN
        RETURN false;
    END IF;
    FOR chunk IN
        SELECT c.chunk_schema, c.chunk_name FROM timescaledb_information.chunks AS c
        WHERE c.hypertable_schema = split_part(of_hypertable, '.', 1) AND c.hypertable_name = split_part(of_hypertable, '.', 2)
          AND tstzrange(c.range_start, c.range_end) = covers
    LOOP
        EXECUTE format('LOCK TABLE %I.%I IN SHARE MODE', chunk.chunk_schema, chunk.chunk_name);
    END LOOP;
    FOR a IN SELECT * FROM _rollup.aggregates WHERE hypertable = of_hypertable AND parent IS NULL AND NOT native ORDER BY id FOR NO KEY UPDATE LOOP
        closing := _rollup.widen(a.bucket, a.timezone, tstzmultirange(covers));
        IF upper(closing) > a.watermark THEN
            RAISE EXCEPTION 'rows of % up to % are not in % yet, which is materialised up to %', of_hypertable, upper(covers), a.name, a.watermark;
        END IF;
        FOR piece IN SELECT * FROM unnest(closing - a.frozen) LOOP
            PERFORM _rollup.materialise(a.id, piece);
        END LOOP;
        UPDATE _rollup.aggregates SET frozen = frozen + closing, pending = pending - closing WHERE id = a.id;
        PERFORM _rollup.complete(a.id, closing);
    END LOOP;
    PERFORM {extension}.drop_chunks(_rollup.relation(of_hypertable)::regclass, older_than => upper(covers), newer_than => lower(covers));
    DELETE FROM _rollup.chunks AS s WHERE s.hypertable = of_hypertable AND to_regclass(format('%I.%I', s.chunk_schema, s.chunk_name)) IS NULL;
    RETURN true;
END;
$$;

-- Retention of an aggregate's own rows: what is made from them is completed and closed first.
CREATE OR REPLACE FUNCTION _rollup.forget(aggregate integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    a _rollup.aggregates;
    child _rollup.aggregates;
    limit_at timestamptz;
    closed tstzmultirange;
BEGIN
    SELECT * INTO STRICT a FROM _rollup.aggregates WHERE id = aggregate FOR NO KEY UPDATE;
    limit_at := least(_rollup.bucket(a.bucket, a.timezone, statement_timestamp() - a.drop_after), a.watermark);
    FOR child IN SELECT * FROM _rollup.aggregates WHERE parent = aggregate ORDER BY id FOR NO KEY UPDATE LOOP
        limit_at := least(limit_at, _rollup.bucket(child.bucket, child.timezone, least(limit_at, child.watermark)));
    END LOOP;
    closed := tstzmultirange(tstzrange(NULL, nullif(limit_at, '-infinity')));
    IF limit_at = '-infinity' THEN
        RETURN;
    END IF;
    PERFORM _rollup.complete(aggregate, closed);
    UPDATE _rollup.aggregates SET frozen = frozen + closed, pending = pending - closed WHERE parent = aggregate;
    EXECUTE format('DELETE FROM _rollup.rows_%s WHERE bucket < $1', aggregate) USING limit_at;
    UPDATE _rollup.aggregates SET frozen = frozen + closed, pending = pending - closed WHERE id = aggregate;
END;
$$;
"""

# What a schedule or a person calls: a commit after each piece, so that a crash costs one piece.
PROCEDURES = """
CREATE OR REPLACE PROCEDURE _rollup.refresh(aggregate_name text)
LANGUAGE plpgsql AS $$
DECLARE
    a _rollup.aggregates;
    parent_name text;
    more boolean;
BEGIN
    SELECT * INTO a FROM _rollup.aggregates WHERE name = aggregate_name AND NOT native;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no rollup % here: see _rollup.aggregates', aggregate_name;
    END IF;
    IF a.parent IS NULL THEN
        PERFORM _rollup.collect(a.hypertable);
    ELSE
        SELECT name INTO parent_name FROM _rollup.aggregates WHERE id = a.parent;
        CALL _rollup.refresh(parent_name);
    END IF;
    COMMIT;
    LOOP
        more := _rollup.refresh_piece(a.id);
        COMMIT;
        EXIT WHEN NOT more;
    END LOOP;
END;
$$;

CREATE OR REPLACE PROCEDURE _rollup.refresh_all()
LANGUAGE plpgsql AS $$
DECLARE
    aggregate_name text;
BEGIN
    FOR aggregate_name IN
        SELECT a.name FROM _rollup.aggregates AS a
        WHERE NOT native AND NOT EXISTS (SELECT FROM _rollup.aggregates AS child WHERE child.parent = a.id) ORDER BY a.id
    LOOP
        CALL _rollup.refresh(aggregate_name);
    END LOOP;
END;
$$;

CREATE OR REPLACE PROCEDURE _rollup.retain(target_name text)
LANGUAGE plpgsql AS $$
DECLARE
    more boolean;
    aggregate integer := (SELECT id FROM _rollup.aggregates WHERE name = target_name AND NOT native);
BEGIN
    IF aggregate IS NOT NULL THEN
        PERFORM _rollup.forget(aggregate);
        RETURN;
    END IF;
    LOOP
        more := _rollup.drop_piece(target_name);
        COMMIT;
        EXIT WHEN NOT more;
    END LOOP;
END;
$$;

-- One step of one task; a failure is recorded and does not stop the others. True while there is more to do.
CREATE OR REPLACE FUNCTION _rollup.task_step(task _rollup.tasks, run bigint, first boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a _rollup.aggregates;
    more boolean := false;
    reason text;
BEGIN
    BEGIN
        SELECT * INTO a FROM _rollup.aggregates WHERE name = task.target;
        IF task.kind = 'refresh' AND first THEN
            IF a.parent IS NULL THEN
                PERFORM _rollup.collect(a.hypertable);
            END IF;
            more := true;
        ELSIF task.kind = 'refresh' THEN
            more := _rollup.refresh_piece(a.id);
        ELSIF a.id IS NOT NULL THEN
            PERFORM _rollup.forget(a.id);
        ELSE
            more := _rollup.drop_piece(task.target);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        reason := format('%s (SQLSTATE %s)', SQLERRM, SQLSTATE);
    END;
    IF NOT more OR reason IS NOT NULL THEN
        UPDATE _rollup.runs SET finished = clock_timestamp(), failed = (reason IS NOT NULL), message = reason WHERE id = run;
        RETURN false;
    END IF;
    RETURN true;
END;
$$;

-- Called once a minute by the server's scheduler. Whatever is due runs once, lower aggregates first.
CREATE OR REPLACE PROCEDURE _rollup.run_due()
LANGUAGE plpgsql AS $$
DECLARE
    tick timestamptz := clock_timestamp();
    task _rollup.tasks;
    run bigint;
    first boolean;
BEGIN
    IF NOT pg_try_advisory_lock(7311443, 1) THEN
        RETURN;
    END IF;
    LOOP
        SELECT * INTO task FROM _rollup.tasks
        WHERE last_started IS NULL OR (last_started < tick AND last_started + schedule_interval <= tick + interval '30 seconds')
        ORDER BY kind, level, name LIMIT 1;
        EXIT WHEN NOT FOUND;
        UPDATE _rollup.tasks SET last_started = clock_timestamp() WHERE name = task.name;
        INSERT INTO _rollup.runs (task) VALUES (task.name) RETURNING id INTO run;
        COMMIT;
        first := true;
        WHILE _rollup.task_step(task, run, first) LOOP
            COMMIT;
            first := false;
        END LOOP;
        COMMIT;
    END LOOP;
    DELETE FROM _rollup.runs WHERE started < tick - interval '30 days';
    COMMIT;
    PERFORM pg_advisory_unlock(7311443, 1);
END;
$$;
"""

# From the Apache edition to the licensed one.
MOVE = """
CREATE OR REPLACE FUNCTION _rollup.take_over(aggregate integer, aside_schema text, aside_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    a _rollup.aggregates;
    store text;
    listed text;
    one record;
BEGIN
    SELECT * INTO STRICT a FROM _rollup.aggregates WHERE id = aggregate FOR NO KEY UPDATE;
    SELECT format('%I.%I', c.materialization_hypertable_schema, c.materialization_hypertable_name) INTO STRICT store
    FROM timescaledb_information.continuous_aggregates AS c WHERE c.view_schema = aside_schema AND c.view_name = aside_name;
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO STRICT listed
    FROM pg_attribute WHERE attrelid = format('_rollup.rows_%s', aggregate)::regclass AND attnum > 0 AND NOT attisdropped;
    EXECUTE format('DELETE FROM %s WHERE $1 @> bucket', store) USING a.frozen;
    EXECUTE format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM _rollup.rows_%3$s AS r WHERE NOT EXISTS (SELECT FROM %1$s AS m WHERE m.bucket = r.bucket)',
                   store, listed, aggregate);
    FOR one IN
        SELECT DISTINCT x.grantee, x.privilege_type FROM pg_class AS v, aclexplode(v.relacl) AS x
        WHERE v.oid = _rollup.relation(a.name)::regclass AND x.grantee NOT IN (0, v.relowner) AND x.privilege_type = 'SELECT'
    LOOP
        EXECUTE format('GRANT %s ON %I.%I TO %I', one.privilege_type, aside_schema, aside_name, pg_get_userbyid(one.grantee));
    END LOOP;
END;
$$;
"""


def functions(extension: str) -> str:
    """All of them, for TimescaleDB in the schema `extension`."""
    quoted = '"{}"'.format(extension.replace('"', '""'))
    return "".join(part.replace("{extension}", quoted).replace("{{", "{").replace("}}", "}") for part in (BUCKETS, COLLECT, PIECES, PROCEDURES, MOVE))
