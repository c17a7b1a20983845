# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""timescaledb_extension: every database follows the image, also where the older library is gone."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest
from modules import run_module
from servers import Server
from timescale import timescale_server

VERSION = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with timescale_server() as started:
        for database in ("one", "other", "without"):
            started.query(f"CREATE DATABASE {database}")
        for database in ("one", "other", "template1"):
            started.query("CREATE EXTENSION IF NOT EXISTS timescaledb", database=database)
        yield started


def test_where_all_databases_have_the_images_version_nothing_is_done(server: Server) -> None:
    result = run_module("timescaledb_extension", server.login)
    assert not result["failed"], result
    assert not result["changed"]


def test_every_database_is_updated_in_a_session_of_its_own(server: Server) -> None:
    """As after a new image: the databases say another version, whose library is not there."""
    current = server.query(VERSION, database="one")[0][0]
    older = _older(server, current)
    for database in ("one", "template1"):
        server.query("UPDATE _timescaledb_catalog.metadata SET value = %s WHERE key = 'timescaledb_version'", older, database=database)
        server.query("UPDATE pg_extension SET extversion = %s WHERE extname = 'timescaledb'", older, database=database)
    with pytest.raises(psycopg2.Error, match=r"timescaledb-"):
        server.query("SELECT count(*) FROM pg_class", database="one")
    predicted = run_module("timescaledb_extension", server.login, check=True)
    done = run_module("timescaledb_extension", server.login)
    assert not done["failed"], done
    assert done["objects"] == predicted["objects"]
    assert [one["name"] for one in done["objects"]] == ["one.timescaledb", "template1.timescaledb"]
    assert server.query(VERSION, database="one") == server.query(VERSION, database="template1") == [(current,)]
    assert not run_module("timescaledb_extension", server.login)["changed"]


def test_an_extension_that_is_newer_than_the_image_is_refused(server: Server) -> None:
    current = server.query(VERSION, database="other")[0][0]
    server.query("UPDATE pg_extension SET extversion = '99.0.0' WHERE extname = 'timescaledb'", database="other")
    try:
        result = run_module("timescaledb_extension", server.login)
        assert result["failed"]
        assert "use an image with 99.0.0 or a newer one" in result["msg"]
    finally:
        with psycopg2.connect(
            host=server.host, port=server.port, user=server.user, password=server.password, dbname="other", options="-c timescaledb.disable_load=on"
        ) as session:
            session.autocommit = True
            session.cursor().execute("UPDATE pg_extension SET extversion = %s WHERE extname = 'timescaledb'", [current])


def _older(server: Server, current: str) -> str:
    """The version just before, from which the image knows the way."""
    ways = server.query("SELECT source FROM pg_extension_update_paths('timescaledb') WHERE target = %s AND path = source || '--' || target", current)
    return max((row[0] for row in ways if row[0] != current), key=lambda version: [int(part) for part in version.split("-")[0].split(".")])
