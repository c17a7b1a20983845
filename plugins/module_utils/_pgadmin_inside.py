# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs inside pgAdmin's container: reads and changes the account, its servers and the link to its password file.

The text of this file is sent to the container's interpreter on stdin: standard library only, nothing of this collection.
pgAdmin's own commands take a password in argv, cannot rename an account and start a second pgAdmin each time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import unicodedata
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# pgAdmin's default for MAX_LOGIN_ATTEMPTS; an account beyond it is refused whatever the password.
MAX_LOGIN_ATTEMPTS = 3
HASH_ROUNDS = 25000
SERVER_COLUMNS = ("name", "host", "port", "username", "maintenance_db")


def main(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one request, {action: observe or converge, ...}; refusals come back as {error: text}."""
    path = Path(request["data_dir"], "pgadmin4.db")
    if not path.exists():
        return {"error": f"pgAdmin's database {path} does not exist yet"}
    try:
        with sqlite3.connect(path, timeout=20) as database:
            database.row_factory = sqlite3.Row
            return _observe(database, request) if request["action"] == "observe" else _converge(database, request)
    except (sqlite3.Error, OSError) as error:
        return {"error": f"pgAdmin's database {path}: {error}"}


def _observe(database: sqlite3.Connection, request: Mapping[str, Any]) -> dict[str, Any]:
    user = _find_user(database, request["email"])
    return {
        "account": None if user is None else _account(database, user, request["password"]),
        "servers": [] if user is None else _servers(database, user["id"], request["mark"]),
        "passfile": _link_target(_passfile(request, request["email"])),
    }


def _find_user(database: sqlite3.Connection, email: str) -> sqlite3.Row | None:
    """The account of that address, else the first administrator: the one that the first start made, under its former address."""
    row: sqlite3.Row | None = database.execute("SELECT * FROM user WHERE auth_source = 'internal' AND username = ?", (email,)).fetchone()
    if row is None:
        row = database.execute(
            "SELECT u.* FROM user u JOIN roles_users m ON m.user_id = u.id JOIN role r ON r.id = m.role_id"
            " WHERE u.auth_source = 'internal' AND r.name = 'Administrator' ORDER BY u.id LIMIT 1"
        ).fetchone()
    return row


def _account(database: sqlite3.Connection, user: sqlite3.Row, password: str) -> dict[str, Any]:
    roles = database.execute("SELECT r.name FROM role r JOIN roles_users m ON m.role_id = r.id WHERE m.user_id = ?", (user["id"],))
    return {
        "email": user["username"],
        "password_matches": _matches(database, user["password"], password),
        "active": bool(user["active"]),
        "locked": user["locked"] in (1, "true") or (user["login_attempts"] or 0) >= MAX_LOGIN_ATTEMPTS,
        "administrator": any(role["name"] == "Administrator" for role in roles),
    }


def _servers(database: sqlite3.Connection, user_id: int, mark: str) -> list[dict[str, Any]]:
    """The servers that carry our mark in their comment; those that a person added are none of our business."""
    rows = database.execute(
        "SELECT s.*, g.name AS group_name FROM server s JOIN servergroup g ON g.id = s.servergroup_id WHERE s.user_id = ? AND s.comment = ? ORDER BY s.id",
        (user_id, mark),
    )
    return [{**{key: row[key] for key in SERVER_COLUMNS}, "group": row["group_name"], "parameters": _parameters(row)} for row in rows]


def _parameters(row: sqlite3.Row) -> dict[str, Any]:
    return dict(json.loads(row["connection_params"] or "{}"))


def _converge(database: sqlite3.Connection, request: Mapping[str, Any]) -> dict[str, Any]:
    user = _find_user(database, request["email"])
    if request["set_account"]:
        _set_account(database, user, request)
        user = _find_user(database, request["email"])
    if user is None:
        return {"error": f"there is no account {request['email']}"}
    for name in request["drop_servers"]:
        database.execute("DELETE FROM server WHERE user_id = ? AND comment = ? AND name = ?", (user["id"], request["mark"], name))
    for server in request["set_servers"]:
        _set_server(database, user["id"], server, request["mark"])
    if request["set_passfile"]:
        _link(_passfile(request, request["email"]), request["passfile"])
    return {}


def _set_account(database: sqlite3.Connection, user: sqlite3.Row | None, request: Mapping[str, Any]) -> None:
    if user is None:
        user_id = _add_account(database, request["email"])
    else:
        user_id = user["id"]
        _move_storage(request, user["username"])
    if user is None or _matches(database, user["password"], request["password"]) is not True:
        _set_password(database, user_id, request["password"])
    database.execute(
        "UPDATE user SET username = ?, email = ?, active = 1, locked = 0, login_attempts = 0 WHERE id = ?", (request["email"], request["email"], user_id)
    )
    database.execute(
        "INSERT INTO roles_users (user_id, role_id) SELECT ?, id FROM role WHERE name = 'Administrator'"
        " AND NOT EXISTS (SELECT 1 FROM roles_users m WHERE m.user_id = ? AND m.role_id = role.id)",
        (user_id, user_id),
    )


def _add_account(database: sqlite3.Connection, email: str) -> int:
    added = database.execute(
        "INSERT INTO user (username, email, active, auth_source, fs_uniquifier) VALUES (?, ?, 1, 'internal', ?)", (email, email, uuid.uuid4().hex)
    )
    return int(added.lastrowid or 0)


def _set_password(database: sqlite3.Connection, user_id: int, password: str) -> None:
    # A new identifier ends the sessions that were opened with the old password.
    database.execute("UPDATE user SET password = ?, fs_uniquifier = ? WHERE id = ?", (_hash(database, password), uuid.uuid4().hex, user_id))
    # pgAdmin encrypts passwords that a person saved with the login password: nobody can read the old ones now.
    database.execute("UPDATE server SET password = NULL, save_password = 0 WHERE user_id = ? AND save_password <> 0", (user_id,))


def _set_server(database: sqlite3.Connection, user_id: int, server: Mapping[str, Any], mark: str) -> None:
    row = database.execute(
        "SELECT id, connection_params FROM server WHERE user_id = ? AND comment = ? AND name = ?", (user_id, mark, server["name"])
    ).fetchone()
    if row is None:
        added = database.execute(
            "INSERT INTO server (user_id, comment, servergroup_id, name, host, port, username, maintenance_db, save_password, use_ssh_tunnel,"
            " tunnel_authentication, tunnel_prompt_password, shared, kerberos_conn, cloud_status, is_adhoc)"
            " VALUES (?, ?, ?, ?, '', ?, '', '', 0, 0, 0, 0, 0, 0, 0, 0)",
            (user_id, mark, _group(database, user_id, server["group"]), server["name"], server["port"]),
        )
        row_id, parameters = added.lastrowid, {}
    else:
        row_id, parameters = row["id"], _parameters(row)
    values = {**server, "parameters": json.dumps({**parameters, **server["parameters"]}), "group_id": _group(database, user_id, server["group"]), "id": row_id}
    database.execute(
        "UPDATE server SET servergroup_id = :group_id, host = :host, port = :port, username = :username, maintenance_db = :maintenance_db,"
        " connection_params = :parameters WHERE id = :id",
        values,
    )


def _group(database: sqlite3.Connection, user_id: int, name: str) -> int:
    row = database.execute("SELECT id FROM servergroup WHERE user_id = ? AND name = ?", (user_id, name)).fetchone()
    if row is not None:
        return int(row["id"])
    return int(database.execute("INSERT INTO servergroup (user_id, name) VALUES (?, ?)", (user_id, name)).lastrowid or 0)


def _matches(database: sqlite3.Connection, stored: str, password: str) -> bool | None:
    """Whether the stored hash is of this password; None where the hash is of a kind that only pgAdmin can tell."""
    parts = (stored or "").split("$")
    if len(parts) != 5 or parts[1] != "pbkdf2-sha512":
        return None
    wanted = _derive(database, password, int(parts[2]), _decode(parts[3]))
    return hmac.compare_digest(wanted, _decode(parts[4]))


def _hash(database: sqlite3.Connection, password: str) -> str:
    salt = os.urandom(16)
    return "$".join(["", "pbkdf2-sha512", str(HASH_ROUNDS), _encode(salt), _encode(_derive(database, password, HASH_ROUNDS, salt))])


def _derive(database: sqlite3.Connection, password: str, rounds: int, salt: bytes) -> bytes:
    """Flask-Security's scheme: PBKDF2 over a base64 HMAC, keyed by the installation's own salt, of the normalised password."""
    key: str = database.execute("SELECT value FROM keys WHERE name = 'SECURITY_PASSWORD_SALT'").fetchone()["value"]
    signed = hmac.new(key.encode(), unicodedata.normalize("NFKD", password).encode(), hashlib.sha512).digest()
    return hashlib.pbkdf2_hmac("sha512", base64.b64encode(signed), salt, rounds)


def _encode(data: bytes) -> str:
    """passlib's base64: no padding, a dot for the plus."""
    return base64.b64encode(data, altchars=b"./").decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"./")


def _storage(request: Mapping[str, Any], email: str) -> Path:
    """The account's own folder, named as pgAdmin names it."""
    name = f"pga_user_{email}" if email[:1].isdigit() else email
    return Path(request["data_dir"], "storage", name.replace("@", "_").replace("/", "slash").replace("\\", "slash"))


def _passfile(request: Mapping[str, Any], email: str) -> Path:
    return _storage(request, email) / ".pgpass"


def _link_target(path: Path) -> str | None:
    if path.is_symlink():
        return str(path.readlink())
    return "a file of its own" if path.exists() else None


def _link(path: Path, target: str) -> None:
    """A link, not a copy: the password file stays outside the data volume, and a rotated one is in force at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    aside.symlink_to(target)
    aside.replace(path)


def _move_storage(request: Mapping[str, Any], former_email: str) -> None:
    old, new = _storage(request, former_email), _storage(request, request["email"])
    if old.is_dir() and not new.exists():
        old.rename(new)
