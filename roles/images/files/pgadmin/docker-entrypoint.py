#!/usr/bin/env python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts pgAdmin; on the first start it makes its database, with the official image's variables.

    PGADMIN_DEFAULT_EMAIL, PGADMIN_DEFAULT_PASSWORD[_FILE]     the first user; needed on the first start
    PGADMIN_CONFIG_<NAME>                   a setting, as a Python literal
    PGADMIN_LISTEN_ADDRESS, _PORT           (all addresses, 8080)
    PGADMIN_SERVER_JSON_FILE                servers to load on the first start (/pgadmin4/servers.json)
    PGADMIN_REPLACE_SERVERS_ON_STARTUP      True: load them on every start, in place of the ones that are there
    PGPASS_FILE                             copied into the user's storage on the first start

The database is made under another name and renamed when it is complete: a container that was killed in between starts
from the beginning. The password reaches pgAdmin inside one process: never in argv, never in an environment others can read.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

HOME = Path("/var/lib/pgadmin")
DATABASE = HOME / "pgadmin4.db"
UNFINISHED = HOME / "pgadmin4.db.init"


def fail(message: str) -> None:
    sys.exit(f"docker-entrypoint: {message}")


def from_file(name: str) -> str:
    """The variable's value, or the content of the file that <name>_FILE names; both are removed from the environment."""
    direct, file = os.environ.pop(name, ""), os.environ.pop(f"{name}_FILE", "")
    if direct and file:
        fail(f"both {name} and {name}_FILE are set: keep one of them")
    if not file:
        return direct
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        fail(f"{name}_FILE names {file}, which uid {os.getuid()} cannot read ({error.strerror}): check the mount and its permissions")
    return ""


def in_child(work: Callable[[], None]) -> None:
    """Do it in a process of its own: what it sets and imports is gone with it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  the child must end here, whatever happened
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        fail("pgAdmin's database could not be prepared: the reason stands above")


def load_servers(email: str, *, replace: bool) -> None:
    """Load the servers' file, if there is one, into the application that is set up."""
    file = os.environ.get("PGADMIN_SERVER_JSON_FILE", "/pgadmin4/servers.json")
    if not Path(file).is_file():
        return
    # In this order: pgAdmin's modules import each other in a circle.
    from run_pgadmin import app  # isort: skip
    from pgadmin.utils import clear_database_servers, load_database_servers  # isort: skip

    with app.test_request_context():
        if replace:
            clear_database_servers(email, True)
        load_database_servers(file, None, email, True)


def make_database(email: str, password: str) -> None:
    """The first start: an empty database with one user and the servers."""
    os.environ.update(SQLITE_PATH=str(UNFINISHED), PGADMIN_SETUP_EMAIL=email, PGADMIN_SETUP_PASSWORD=password)
    import run_pgadmin  # noqa: F401  it makes the database
    from pgadmin.utils.validation_utils import validate_email  # isort: skip

    if not validate_email(email):
        raise SystemExit(f"PGADMIN_DEFAULT_EMAIL is {email!r}, which pgAdmin refuses: correct it or allow its domain (ALLOW_SPECIAL_EMAIL_DOMAINS)")
    load_servers(email, replace=False)
    copy_passfile(email)


def copy_passfile(email: str) -> None:
    source = os.environ.get("PGPASS_FILE", "")
    if not source or not Path(source).is_file():
        return
    storage = HOME / "storage" / email.replace("@", "_")
    storage.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(source, storage / ".pgpass")
    (storage / ".pgpass").chmod(0o600)


def first_start(email: str, password: str) -> None:
    if not email or not password:
        fail("the first start needs PGADMIN_DEFAULT_EMAIL and PGADMIN_DEFAULT_PASSWORD_FILE (or PGADMIN_DEFAULT_PASSWORD)")
    for leftover in HOME.glob(f"{UNFINISHED.name}*"):
        leftover.unlink()
    in_child(lambda: make_database(email, password))
    UNFINISHED.rename(DATABASE)
    print("docker-entrypoint: the database is complete", flush=True)


def main() -> None:
    if len(sys.argv) > 1:
        os.execvp(sys.argv[1], sys.argv[1:])
    os.umask(0o077)
    os.chdir("/pgadmin4")
    sys.path.insert(0, "/pgadmin4")
    password = from_file("PGADMIN_DEFAULT_PASSWORD")
    email = os.environ.get("PGADMIN_DEFAULT_EMAIL", "")
    if not DATABASE.exists():
        first_start(email, password)
    elif os.environ.get("PGADMIN_REPLACE_SERVERS_ON_STARTUP") == "True":
        in_child(lambda: load_servers(email, replace=True))
    address = os.environ.get("PGADMIN_LISTEN_ADDRESS", "[::]") + ":" + os.environ.get("PGADMIN_LISTEN_PORT", "8080")
    os.execv("/venv/bin/python", ["python", "-m", "gunicorn", "--bind", address, "--config", "/pgadmin4/gunicorn_config.py", "run_pgadmin:app"])


main()
