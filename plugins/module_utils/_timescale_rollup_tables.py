# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of the schema `_rollup`: what was declared, how far each aggregate is, and what has run.

Why it is right: docs/decisions/rollups-without-a-licence.md.
"""

from __future__ import annotations

# Run as a whole, by the administrator, as often as wanted.
TABLES = """
CREATE SCHEMA IF NOT EXISTS _rollup;
REVOKE ALL ON SCHEMA _rollup FROM PUBLIC;

CREATE TABLE IF NOT EXISTS _rollup.hypertables (
    name         text PRIMARY KEY,                 -- schema.table, as declared
    time_column  name NOT NULL,
    drop_after   interval,
    -- TRUNCATE drops chunks as retention does: the trigger on the hypertable tells them apart.
    truncated    boolean NOT NULL DEFAULT false
);

CREATE TABLE IF NOT EXISTS _rollup.aggregates (
    id                 integer PRIMARY KEY,        -- of _rollup.rows_<id> and _rollup.source_<id>()
    name               text NOT NULL UNIQUE,       -- schema.view, as declared
    hypertable         text NOT NULL REFERENCES _rollup.hypertables (name),
    parent             integer REFERENCES _rollup.aggregates (id),
    native             boolean NOT NULL,
    filled             boolean NOT NULL DEFAULT false,
    definition         jsonb NOT NULL,             -- as declared: the server's own text of a query cannot be compared
    bucket             interval NOT NULL,
    timezone           text,
    start_offset       interval,
    end_offset         interval NOT NULL,
    drop_after         interval,
    materialized_only  boolean NOT NULL DEFAULT false,
    -- All buckets before it are materialised, or in `pending`.
    watermark          timestamptz NOT NULL DEFAULT '-infinity',
    -- What the materialised rows cannot vouch for, on borders of buckets. Holds all from the watermark on.
    pending            tstzmultirange NOT NULL DEFAULT '{(,)}',
    -- What retention has closed for good: its source is gone.
    frozen             tstzmultirange NOT NULL DEFAULT '{}'
);

CREATE TABLE IF NOT EXISTS _rollup.chunks (
    hypertable    text NOT NULL REFERENCES _rollup.hypertables (name) ON DELETE CASCADE,
    chunk_schema  name NOT NULL,
    chunk_name    name NOT NULL,
    storage       text NOT NULL,                   -- epoch of the statistics, oid and file of the chunk, rows ever updated and deleted
    inserted      bigint NOT NULL,                 -- rows ever inserted
    seen          xid8 NOT NULL,                   -- every transaction before it had ended when this was read
    PRIMARY KEY (chunk_schema, chunk_name)
);

CREATE TABLE IF NOT EXISTS _rollup.tasks (
    name               text PRIMARY KEY,           -- "refresh schema.view", "retention schema.table"
    kind               text NOT NULL CHECK (kind IN ('refresh', 'retention')),
    target             text NOT NULL,
    level              integer NOT NULL,           -- an aggregate of an aggregate comes after it
    schedule_interval  interval NOT NULL,
    created            timestamptz NOT NULL DEFAULT now(),
    last_started       timestamptz
);

CREATE TABLE IF NOT EXISTS _rollup.runs (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task      text NOT NULL,
    started   timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished  timestamptz,
    -- NULL while it runs, and for ever where the server died under it.
    failed    boolean,
    message   text
);
CREATE INDEX IF NOT EXISTS runs_task_idx ON _rollup.runs (task, id DESC);

CREATE OR REPLACE VIEW _rollup.status AS
SELECT t.name AS task, t.kind, t.target, t.schedule_interval, r.started AS last_started, r.finished AS last_finished, r.failed AS last_failed,
       r.message AS last_message,
       now() - coalesce((SELECT max(started) FROM _rollup.runs AS good WHERE good.task = t.name AND good.failed IS FALSE), t.created) AS since_success
FROM _rollup.tasks AS t
LEFT JOIN LATERAL (SELECT * FROM _rollup.runs WHERE runs.task = t.name ORDER BY id DESC LIMIT 1) AS r ON true;
"""
