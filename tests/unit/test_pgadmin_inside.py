# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs inside the container, on a database with pgAdmin's tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._pgadmin_inside import main

# As pgAdmin 9.18 makes them, without the columns that are not used here.
TABLES = """
CREATE TABLE user (id INTEGER PRIMARY KEY, email VARCHAR, password VARCHAR, active BOOLEAN NOT NULL, username VARCHAR NOT NULL,
    auth_source VARCHAR NOT NULL, fs_uniquifier VARCHAR NOT NULL, locked BOOLEAN DEFAULT 'false', login_attempts INTEGER DEFAULT '0');
CREATE TABLE role (id INTEGER PRIMARY KEY, name VARCHAR);
CREATE TABLE roles_users (user_id INTEGER, role_id INTEGER);
CREATE TABLE keys (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
CREATE TABLE servergroup (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, name VARCHAR NOT NULL);
CREATE TABLE server (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL, servergroup_id INTEGER NOT NULL, name VARCHAR NOT NULL,
    host VARCHAR, port INTEGER, maintenance_db VARCHAR, username VARCHAR, comment VARCHAR, password VARCHAR, use_ssh_tunnel INTEGER DEFAULT '0',
    tunnel_authentication INTEGER DEFAULT '0', tunnel_prompt_password INTEGER DEFAULT '0', save_password INTEGER DEFAULT '0', shared BOOLEAN,
    kerberos_conn BOOLEAN DEFAULT 'false', cloud_status INTEGER DEFAULT '0', is_adhoc INTEGER DEFAULT '0', connection_params JSON);
INSERT INTO role VALUES (1, 'Administrator'), (2, 'User');
INSERT INTO keys VALUES ('SECURITY_PASSWORD_SALT', 'tOWRgY5u7EBXAeX6zVIEpBV5rPQc6LQpu6XRAqRUr-s=');
"""
SERVER = {"name": "PostgreSQL", "host": "postgres", "port": 5432, "username": "shop", "maintenance_db": "postgres", "group": "Servers", "parameters": {}}
NOTHING = {"set_account": False, "set_servers": [], "drop_servers": [], "set_passfile": False}
ODD = "p'\"\\:%s$ é ﬁ 🐘"


class Inside:
    """A data folder of pgAdmin and requests to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request = {"email": "a@shop.local", "password": ODD, "data_dir": str(folder), "passfile": "/run/pgpass", "mark": "ours"}
        self.sql(TABLES)

    def sql(self, statements: str) -> None:
        with sqlite3.connect(self.folder / "pgadmin4.db") as database:
            database.executescript(statements)

    def rows(self, query: str) -> list[Any]:
        with sqlite3.connect(self.folder / "pgadmin4.db") as database:
            return database.execute(query).fetchall()

    def observe(self, **other: Any) -> dict[str, Any]:
        return main({"action": "observe", **self.request, **other})

    def converge(self, **other: Any) -> dict[str, Any]:
        return main({"action": "converge", **self.request, **NOTHING, **other})


@pytest.fixture
def inside(tmp_path: Path) -> Inside:
    return Inside(tmp_path)


def test_without_a_database_the_answer_is_an_error(tmp_path: Path) -> None:
    assert "does not exist yet" in main({"action": "observe", "data_dir": str(tmp_path)})["error"]


def test_an_unexpected_database_is_an_error_and_no_traceback(inside: Inside) -> None:
    inside.sql("DROP TABLE keys; INSERT INTO user VALUES (1, '', '$pbkdf2-sha512$1$YQ$YQ', 1, 'a@shop.local', 'internal', 'f', 0, 0);")
    assert "no such table: keys" in inside.observe()["error"]


def test_an_account_is_made_where_none_is_left(inside: Inside) -> None:
    assert inside.observe()["account"] is None
    assert inside.converge(set_account=True) == {}
    assert inside.observe()["account"] == {"email": "a@shop.local", "password_matches": True, "active": True, "locked": False, "administrator": True}


@pytest.mark.parametrize("password", [ODD, "x" * 200, "######", " spaces around "])
def test_the_password_that_was_set_matches_and_no_other(inside: Inside, password: str) -> None:
    inside.converge(set_account=True, password=password)
    assert inside.observe(password=password)["account"]["password_matches"] is True
    assert inside.observe(password=password + "x")["account"]["password_matches"] is False


def test_a_hash_of_another_kind_is_left_to_the_login(inside: Inside) -> None:
    inside.converge(set_account=True)
    inside.sql("UPDATE user SET password = '$argon2id$v=19$x'")
    assert inside.observe()["account"]["password_matches"] is None


def test_flask_securitys_own_hash_is_recognised(inside: Inside) -> None:
    # Made by pgAdmin 9.18 itself, with the salt above, of this password.
    stored = "$pbkdf2-sha512$25000$g/Be6917L.VcqzWmVKr1/g$MQLkJElHLdN5bScJymf7O8ifiaQ3ilo1I0xVHlrjEPUBwrNO/GNVMPxr3p6b2IkuablJZfgr9fi8jbzYP4pnbA"
    inside.converge(set_account=True)
    inside.sql(f"UPDATE user SET password = '{stored}'")
    assert inside.observe(password="made by pgAdmin: é ﬁ")["account"]["password_matches"] is True


@pytest.mark.parametrize("change", ["login_attempts = 3", "locked = 1", "locked = 'true'"])
def test_a_locked_account_is_seen_and_unlocked_with_its_sessions_kept(inside: Inside, change: str) -> None:
    inside.converge(set_account=True)
    session = inside.rows("SELECT fs_uniquifier FROM user")
    inside.sql(f"UPDATE user SET {change}")
    assert inside.observe()["account"]["locked"] is True
    inside.converge(set_account=True)
    assert inside.observe()["account"]["locked"] is False
    assert inside.rows("SELECT fs_uniquifier FROM user") == session


def test_a_new_password_ends_sessions_and_forgets_saved_passwords(inside: Inside) -> None:
    inside.converge(set_account=True, set_servers=[SERVER])
    inside.sql("UPDATE server SET password = 'encrypted', save_password = 1")
    session = inside.rows("SELECT fs_uniquifier FROM user")
    inside.converge(set_account=True, password="another one")
    assert inside.rows("SELECT fs_uniquifier FROM user") != session
    assert inside.rows("SELECT password, save_password FROM server") == [(None, 0)]


def test_a_new_address_renames_the_account_and_moves_its_files(inside: Inside) -> None:
    inside.converge(set_account=True)
    (inside.folder / "storage" / "a_shop.local").mkdir(parents=True)
    (inside.folder / "storage" / "a_shop.local" / "query.sql").touch()
    assert inside.observe(email="1st@shop.local")["account"]["email"] == "a@shop.local"
    inside.converge(email="1st@shop.local", set_account=True, set_passfile=True)
    assert inside.rows("SELECT username, email FROM user") == [("1st@shop.local", "1st@shop.local")]
    assert sorted(path.name for path in (inside.folder / "storage" / "pga_user_1st_shop.local").iterdir()) == [".pgpass", "query.sql"]


def test_entries_are_made_updated_and_dropped_and_a_persons_own_are_kept(inside: Inside) -> None:
    inside.converge(set_account=True, set_servers=[SERVER, {**SERVER, "name": "Old"}])
    inside.sql(
        "INSERT INTO server (user_id, servergroup_id, name, comment, connection_params) SELECT user_id, servergroup_id, 'Old', 'mine', '{}' FROM server LIMIT 1"
    )
    before = inside.rows("SELECT id FROM server WHERE name = 'PostgreSQL'")
    inside.converge(set_servers=[{**SERVER, "port": 5433, "parameters": {"passfile": "/.pgpass"}}], drop_servers=["Old"])
    assert inside.observe()["servers"] == [{**SERVER, "port": 5433, "parameters": {"passfile": "/.pgpass"}}]
    assert inside.rows("SELECT id FROM server WHERE name = 'PostgreSQL'") == before
    assert inside.rows("SELECT comment FROM server WHERE name = 'Old'") == [("mine",)]


def test_the_password_file_is_linked_also_over_a_copy(inside: Inside) -> None:
    inside.converge(set_account=True)
    folder = inside.folder / "storage" / "a_shop.local"
    folder.mkdir(parents=True)
    (folder / ".pgpass").write_text("an old copy")
    assert inside.observe()["passfile"] == "a file of its own"
    inside.converge(set_passfile=True)
    assert inside.observe()["passfile"] == "/run/pgpass"
    assert [path.name for path in folder.iterdir()] == [".pgpass"]
