# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TimescaleDB comes back with its chunks, aggregates and jobs, on both editions, and nothing eats the copy meanwhile."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backups import new_key, recipient_of
from modules import run_module
from psycopg2 import sql
from restoring import Restorer, picture
from servers import Server
from timescale import OWNER, Market, market, timescale_server

from ansible_collections.nexanest.database.plugins.module_utils import _backup_manifest as manifests

# Those that the extension makes itself begin when it is made.
JOBS = "SELECT to_jsonb(j) - CASE WHEN id < 1000 THEN 'initial_start' ELSE '' END FROM _timescaledb_config.bgw_job j ORDER BY id"
INSIDE = """
SELECT pg_get_userbyid(refobjid), classid::regclass::text, deptype::text, count(*) FROM pg_shdepend
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY 1, 2, 3 ORDER BY 2, 3, 4
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with timescale_server() as found:
        yield found


@pytest.fixture
def restorer(server: Server, tmp_path: Path) -> Restorer:
    key = new_key(tmp_path)
    return Restorer(server, tmp_path / "backups", tmp_path / "state", key.read_text(encoding="utf-8"), name="timescaledb")


def backup(restorer: Restorer) -> str:
    source = {"name": "timescaledb", "kind": "timescaledb", "container": restorer.server.container, **restorer.server.login}
    recipient = recipient_of(restorer.backups.parent / "backup.key")
    result = run_module("backup_set", {"backup_dir": str(restorer.backups), "stack": "t", "servers": [source], "recipients": [recipient]})
    assert not result["failed"], result
    return str(result["set"]["id"])


def shown(one: Market) -> dict[str, Any]:
    return {**picture(one.server, one.database), **{f"job {row[0]['id']}": row[0] for row in one.query(JOBS)}}


def test_hypertables_aggregates_and_jobs_come_back_equal(server: Server, restorer: Restorer) -> None:
    one = market(server, "market")
    one.converge()
    one.fill(20_000)
    one.refresh()
    for _attempt in range(5):  # the server's own job may run meanwhile
        earlier = shown(one)
        name, before = backup(restorer), shown(one)
        if before == earlier:
            break
    one.query("SELECT drop_chunks('market.ticks', now() - interval '20 days')")
    one.fill(500, days=3)
    result = restorer.restored(name)
    assert result["changed"]
    assert shown(one) == before
    assert one.differences() == {}
    one.fill(3000, days=40)
    one.refresh()
    assert one.differences() == {}
    assert not one.converge()["changed"]
    server.query("DROP DATABASE market WITH (FORCE)")


OTHER = 'prod\t"owner" \\'
# A job as the licensed edition has them: on both editions its owner stands in a row.
JOB = """
INSERT INTO _timescaledb_config.bgw_job (id, application_name, schedule_interval, max_runtime, max_retries, retry_period, proc_schema, proc_name, owner,
  scheduled, fixed_schedule, config) VALUES (4000, 'a\tb', '1 day', '0', 0, '1 day', 'pg_catalog', 'now', %s::regrole, false, true, '{"who": "market_owner"}')
"""


@pytest.mark.long
def test_jobs_and_aggregates_belong_to_the_roles_that_others_are_mapped_to(server: Server, restorer: Restorer) -> None:
    one = market(server, "source")
    one.converge()
    one.fill(5000)
    one.refresh()
    one.query(JOB, OWNER)
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(OTHER)))
    name, before = backup(restorer), one.query(INSIDE)
    assert f"has no role nobody, to which role_map gives what {OWNER} has" in restorer.refused(name, role_map={OWNER: "nobody"})
    mapping = {"databases": ["source"], "database_map": {"source": "target"}, "role_map": {OWNER: OTHER}}
    restorer.restored(name, **mapping)
    other = Market(server, "target")
    assert [(OTHER if role == OWNER else role, *rest) for role, *rest in before] == other.query(INSIDE)
    assert other.query("SELECT id, pg_get_userbyid(owner), application_name, config FROM _timescaledb_config.bgw_job WHERE id = 4000") == [
        (4000, OTHER, "a\tb", {"who": OWNER})
    ]
    assert other.query("SELECT count(*) FROM _timescaledb_config.bgw_job") == one.query("SELECT count(*) FROM _timescaledb_config.bgw_job")
    assert other.differences() == {}
    other.fill(500, days=3)
    other.refresh()
    assert other.differences() == {}
    # The server's own schedule is in no set: the inventory makes it, for the database's name here.
    assert [row for row in other.converge()["objects"] if row["kind"] != "job"] == []
    server.query("DROP DATABASE source WITH (FORCE)")
    server.query("DROP DATABASE target WITH (FORCE)")


LOGINS = """
CREATE TABLE public.logins (who text);
CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO public.logins VALUES (session_user); END $$;
CREATE EVENT TRIGGER note ON login EXECUTE FUNCTION public.note();
COMMENT ON EVENT TRIGGER note IS 'who was here';
TRUNCATE public.logins;
"""


@pytest.mark.long
def test_a_trigger_on_logins_writes_into_no_copy(server: Server, restorer: Restorer) -> None:
    one = market(server, "logins")
    one.converge()
    one.query(LOGINS)
    name = backup(restorer)  # its own sessions are noted, before the moment of the dump
    (rows,) = [table["rows"] for table in manifest_of(restorer, name)["tables"] if table["name"] == "logins"]
    restorer.restored(name, databases=["logins"], disconnect=True)
    with contextlib.closing(server.connect("logins")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) - %s, obj_description((SELECT oid FROM pg_event_trigger WHERE evtname = 'note')) FROM public.logins", (rows,))
        assert cursor.fetchall() == [(1, "who was here")], "this session's own login, and no other"
    server.query("DROP DATABASE logins WITH (FORCE)")


def manifest_of(restorer: Restorer, name: str) -> dict[str, Any]:
    """What a set says of its only database."""
    document = json.loads((restorer.backups / name / manifests.NAME).read_text(encoding="utf-8"))
    (found,) = document["servers"]["timescaledb"]["databases"]
    return dict(found)


def test_a_set_says_of_which_edition_it_is_and_the_apache_one_refuses_the_licensed_one(server: Server, restorer: Restorer) -> None:
    one = market(server, "edition")
    name = backup(restorer)
    path = restorer.backups / name / manifests.NAME
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert document["servers"]["timescaledb"]["timescaledb_license"] == ("timescale" if one.native else "apache")
    document["servers"]["timescaledb"]["timescaledb_license"] = "timescale"
    del document["format"], document["sha256"]
    path.write_text(manifests.write(manifests._load(manifests.Manifest, document, "")), encoding="utf-8")
    if one.native:
        restorer.restored(name, databases=["edition"])
    else:
        assert "the server has the Apache edition" in restorer.refused(name, databases=["edition"])
    server.query("DROP DATABASE edition WITH (FORCE)")


@pytest.mark.native
def test_retention_does_not_eat_a_copy_and_goes_on_in_a_restored_database(server: Server, restorer: Restorer) -> None:
    one = market(server, "eaten")
    one.query("SELECT create_hypertable('market.ticks', by_range('time', interval '1 day'))")
    one.fill(2000)
    one.query("SELECT _timescaledb_functions.stop_background_workers()")
    one.query("SELECT add_retention_policy('market.ticks', interval '10 days', schedule_interval => interval '1 second')")
    name = backup(restorer)
    assert one.query("SELECT count(*) FROM market.ticks") == [(2000,)]
    restorer.restored(name, databases=["eaten"], disconnect=True)
    deadline = time.monotonic() + 120
    while one.query("SELECT count(*) FROM market.ticks")[0][0] > 500:
        assert time.monotonic() < deadline, "the job did not go on"
        time.sleep(1)
    server.query("DROP DATABASE eaten WITH (FORCE)")


@pytest.mark.long
def test_a_database_that_reads_alone_by_default_comes_back_with_its_jobs(server: Server, restorer: Restorer) -> None:
    one = market(server, "frozen")
    one.fill(100)
    one.query("UPDATE _timescaledb_config.bgw_job SET scheduled = true")
    server.query("ALTER DATABASE frozen SET default_transaction_read_only = on")
    jobs = "SELECT id, scheduled FROM _timescaledb_config.bgw_job ORDER BY id"
    before = one.query(jobs)
    restorer.restored(backup(restorer), databases=["frozen"], disconnect=True)
    assert before
    assert [row[0] for row in one.query(jobs)] == [row[0] for row in before]
    server.query("DROP DATABASE frozen WITH (FORCE)")
