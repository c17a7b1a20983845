# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load a dump into an empty database, with pg_restore of the server's own image."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nexanest.database.plugins.module_utils import _restore_archive as archive
from ansible_collections.nexanest.database.plugins.module_utils import _restore_timescale as timescale
from ansible_collections.nexanest.database.plugins.module_utils._bulk_client import PGOPTIONS, WORK, Bulk, BulkError, Neighbour, password_file
from ansible_collections.nexanest.database.plugins.module_utils._progress import Progress

_FINISHED = re.compile(r"finished item (\d+) ")
# With --exit-on-error there is none; a number of them with a good exit code would be a success that is none.
_ERRORS = re.compile(r"^pg_restore: (error:|warning: errors ignored on restore)")


# Nobody uses the copy before the swap, whose commit waits until the disk has all the log before it.
_OPTIONS = f"{PGOPTIONS} -c synchronous_commit=off"
# pg_restore makes a database's event triggers and then connects once more: one on logins must not write into the copy. TimescaleDB has some that it needs.
_NO_TRIGGERS = {"PGOPTIONS": f"{_OPTIONS} -c event_triggers=off"}
_EVENT_TRIGGER = re.compile(r"^\d+; \d+ \d+ ((COMMENT|SECURITY LABEL) - )?EVENT TRIGGER ")


@dataclass(frozen=True)
class Elsewhere:
    """Rows of one table that are loaded by other means. number: of their entry in the dump."""

    number: int
    load: Callable[[], None]


@dataclass(frozen=True)
class Loader:
    """Dumps of one server that lie in `folder` in plain. login: of the administrator; mark: of the tools' containers."""

    neighbour: Neighbour
    login: Mapping[str, Any]
    folder: Path
    progress: Progress
    mark: str
    jobs: int

    def load(self, source: str, side: str, label: str) -> None:
        """All of a dump. source: its folder.

        Where somebody who has the grant option granted something, rights come with what is made before the rows, one after another: side by side, such a
        grant may come before the right on the schema that it needs.
        """
        parallel = ["--jobs", str(self.jobs)]
        if not self._granted_by_others(source):
            self._run(source, side, label, parallel, _NO_TRIGGERS)
            return
        self._run(source, side, label, ["--section=pre-data"], _NO_TRIGGERS)
        self._run(source, side, label, ["--section=data", "--section=post-data", *parallel], _NO_TRIGGERS)

    def load_timescale(self, source: str, side: str, label: str, schema: str, elsewhere: Elsewhere | None = None) -> None:
        """Its own rows before all others, event triggers last. schema: of the extension, which is there."""
        listed = [line for line in self._list(source) if elsewhere is None or not line.startswith(f"{elsewhere.number};")]
        own = [line for line in listed if timescale.OWN_DATA.match(line)]
        # A schema of its own was made for the extension; everything else of it (its rights, its comment) is in the dump.
        made = re.compile(rf"^\d+; 2615 \d+ SCHEMA - {re.escape(schema)} ")
        first = set(own)
        lists = {
            "before": [line for line in listed if schema == "public" or not made.match(line)],
            "own": own,
            "rows": [line for line in listed if line not in first],
            "after": [line for line in listed if not _EVENT_TRIGGER.match(line)],
            "triggers": [line for line in listed if _EVENT_TRIGGER.match(line)],
        }
        for name, lines in lists.items():
            (self.folder / f"{source}.{name}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        parallel = ["--jobs", str(self.jobs)]
        self._run(source, side, label, ["--section=pre-data", *self._use(source, "before")])
        if own:
            self._run(source, side, label, ["--section=data", *self._use(source, "own")])
        if elsewhere is not None:
            elsewhere.load()
        self._run(source, side, label, ["--section=data", *self._use(source, "rows"), *parallel])
        self._run(source, side, label, ["--section=post-data", *self._use(source, "after"), *parallel])
        if lists["triggers"]:
            self._run(source, side, label, ["--section=post-data", *self._use(source, "triggers")], _NO_TRIGGERS)

    def _granted_by_others(self, source: str) -> bool:
        """Whether a grant in the dump is made in the name of another role than the owner."""
        entries = archive.read((self.folder / source / "toc.dat").read_bytes()).entries
        return any(entry.kind == b"ACL" and b"SET SESSION AUTHORIZATION" in (entry.statement or b"") for entry in entries)

    def script(self, source: str, number: int) -> str:
        """One entry of a dump as a script."""
        path = self.folder / f"{source}.one"
        path.write_text(f"{number};\n", encoding="utf-8")
        return self._bulk(None).run(["pg_restore", "--format=directory", "--file=-", "--use-list", f"{WORK}/{path.name}", f"{WORK}/{source}"])

    def _use(self, source: str, name: str) -> list[str]:
        return ["--use-list", f"{WORK}/{source}.{name}"]

    def _list(self, source: str) -> list[str]:
        return self._bulk(None).run(["pg_restore", "--list", f"{WORK}/{source}"]).splitlines()

    def _run(self, source: str, side: str, label: str, options: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        errors: list[str] = []
        with password_file(self.folder, self.neighbour, (self.login["login_user"], self.login["login_password"])) as keys:
            argv = [
                *("pg_restore", "--format=directory", "--exit-on-error", "--verbose", "--no-password"),
                *("--host", self.neighbour.address, "--username", str(self.login["login_user"]), "--dbname", side, *options),
                f"{WORK}/{source}",
            ]
            self._bulk(keys, environment).run(argv, heard=self._listener(source, label, errors), watch=self.progress.heartbeat)
        if errors:
            raise BulkError(f"pg_restore failed: {errors[0]}")

    def _bulk(self, keys: Path | None, environment: Mapping[str, str] | None = None) -> Bulk:
        beside = self.neighbour if keys else None
        return Bulk(self.neighbour.image, self.mark, self.folder, beside, keys, read_only=True, environment={"PGOPTIONS": _OPTIONS, **(environment or {})})

    def _listener(self, source: str, label: str, errors: list[str]) -> Callable[[str], None]:
        """Of what has ended, its file's size counts."""
        folder = self.folder / source
        sizes = {path.name.partition(".")[0]: path.stat().st_size for path in folder.iterdir()}
        total = sum(sizes.values())
        done = [0]

        def hear(line: str) -> None:
            if _ERRORS.match(line):
                errors.append(line)
            found = _FINISHED.search(line)
            if found and found[1] in sizes:
                done[0] += sizes[found[1]]
                self.progress.step(label, done[0], total)

        return hear


def extension_schema(catalog: Sequence[Sequence[Any]], name: str) -> tuple[str, str]:
    """Schema of an extension in a catalog of the set, and who owns that schema."""
    found = {(kind, title): properties for kind, title, properties in catalog}
    schema = str(found.get(("extension", name), {}).get("schema", "public"))
    with contextlib.suppress(KeyError):
        return schema, str(found["schema", schema]["owner"])
    return schema, ""
