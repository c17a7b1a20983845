-- Each time that a report was computed, or shall be.
CREATE TABLE analytics.report_runs (
    user_id       uuid NOT NULL,
    run_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    report_id     uuid NOT NULL,
    state         text NOT NULL DEFAULT 'queued',
    requested_at  timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    lease_until   timestamptz,
    finished_at   timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    result        jsonb,
    error         text,
    PRIMARY KEY (user_id, run_id),
    CONSTRAINT report_runs_report_fkey
        FOREIGN KEY (user_id, report_id) REFERENCES analytics.report_definitions (user_id, report_id) ON DELETE CASCADE,
    CONSTRAINT report_runs_state_known CHECK (state IN ('queued', 'running', 'done', 'failed')),
    CONSTRAINT report_runs_started_unless_queued CHECK (state = 'queued' OR started_at IS NOT NULL),
    CONSTRAINT report_runs_lease_while_running CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CONSTRAINT report_runs_finished_at_the_end CHECK ((state IN ('done', 'failed')) = (finished_at IS NOT NULL)),
    CONSTRAINT report_runs_result_when_done CHECK ((state = 'done') = (result IS NOT NULL)),
    CONSTRAINT report_runs_error_when_failed CHECK (state <> 'failed' OR error IS NOT NULL),
    CONSTRAINT report_runs_attempts_not_negative CHECK (attempts >= 0)
);

COMMENT ON TABLE analytics.report_runs IS 'Runs of reports, waiting, running and finished.';
COMMENT ON COLUMN analytics.report_runs.lease_until IS 'Until when a worker has it; afterwards another one may take it.';
COMMENT ON COLUMN analytics.report_runs.result IS 'The report''s numbers.';

CREATE INDEX report_runs_report_idx ON analytics.report_runs (user_id, report_id, requested_at DESC);
CREATE INDEX report_runs_open_idx ON analytics.report_runs (requested_at) WHERE state IN ('queued', 'running');

ALTER TABLE analytics.report_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics.report_runs FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON analytics.report_runs USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));

-- A worker learns which runs wait, of all users, and nothing of what is in them: that it reads and writes as each user.
GRANT SELECT, UPDATE ON analytics.report_runs TO analytics_definer;
CREATE FUNCTION analytics.claim_runs(batch integer DEFAULT 10, lease interval DEFAULT '5 minutes') RETURNS TABLE (user_id uuid, run_id uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE analytics.report_runs r
    SET state = 'running', started_at = now(), lease_until = now() + greatest(least(lease, interval '1 day'), interval '5 seconds'), attempts = attempts + 1
    FROM (
        SELECT q.user_id, q.run_id FROM analytics.report_runs q
        WHERE q.state = 'queued' OR (q.state = 'running' AND q.lease_until < now())
        ORDER BY q.requested_at LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED
    ) waiting
    WHERE r.user_id = waiting.user_id AND r.run_id = waiting.run_id
    RETURNING r.user_id, r.run_id
$$;
COMMENT ON FUNCTION analytics.claim_runs(integer, interval) IS 'Hands waiting runs to a worker, at most 1000, each to one, and those whose worker was silent for the lease, of 5 seconds to a day; returns their keys.';
ALTER FUNCTION analytics.claim_runs(integer, interval) OWNER TO analytics_definer;
