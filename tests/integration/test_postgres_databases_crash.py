# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_databases killed, without its server, twice at once, and beside someone who changes the same objects."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from typing import Any

import psycopg2
import pytest
from modules import run_module, start_module
from product import SERVICES, arguments, converged, password
from servers import postgres_server


def test_killed_run_is_completed_by_the_next() -> None:
    with postgres_server() as fresh:
        for delay in (0.25, 0.35, 0.5, 0.65, 0.8):
            run = start_module("postgres_databases", arguments(fresh))
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(timeout=delay)
            run.kill()
            run.communicate()
            with contextlib.suppress(psycopg2.OperationalError):
                fresh.connect("auth", user="portfolio_app", password=password("portfolio_app")).close()
                pytest.fail("a stranger could enter a half-made database")
        converged(arguments(fresh))
        assert not converged(arguments(fresh))["changed"]


def test_server_killed_in_between_is_one_sentence() -> None:
    with postgres_server() as fresh:
        run = start_module("postgres_databases", arguments(fresh))
        time.sleep(0.6)
        subprocess.run(["docker", "kill", fresh.container], check=True, capture_output=True)
        output, _errors = run.communicate(timeout=60)
        result = json.loads(output)
        assert not result.get("failed") or "\n" not in result["msg"]


def test_two_runs_at_once_both_end_right() -> None:
    with postgres_server() as fresh:
        results: list[dict[str, Any]] = []
        runs = [threading.Thread(target=lambda: results.append(run_module("postgres_databases", arguments(fresh)))) for _run in range(3)]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        assert sorted(result["changed"] for result in results) == [False, False, True]
        assert not any(result["failed"] for result in results)


def test_change_by_someone_else_in_between_is_coped_with() -> None:
    with postgres_server() as fresh:
        run = start_module("postgres_databases", arguments(fresh))
        with contextlib.closing(fresh.connect()) as connection, connection.cursor() as cursor:
            for name in SERVICES:  # as a colleague by hand would
                with contextlib.suppress(psycopg2.Error):
                    cursor.execute(f"CREATE ROLE {name}_owner")
                    cursor.execute(f"CREATE DATABASE {name}")
        output, _errors = run.communicate(timeout=60)
        assert not json.loads(output).get("failed"), output
        assert not converged(arguments(fresh))["changed"]
