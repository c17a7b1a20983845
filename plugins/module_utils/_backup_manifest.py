# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup set holds, as data: written last, and read before anything of the set is used. docs/backup_format.md explains each field.

It holds nothing secret: names, sizes, counts, checksums. Roles with their verifiers and all settings are in encrypted files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import types
import typing
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

FORMAT = 1
NAME = "manifest.json"
ID = re.compile(r"\d{8}_\d{6}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OPTIONAL = ("sample", "databases")


class ManifestError(Exception):
    """The manifest is damaged, incomplete or of a newer format; the text says which, and what to do."""


@dataclass(frozen=True)
class File:
    """One file of the set. path: in the set; bytes, sha256: as stored; plain_bytes, plain_sha256: before encryption (the same without it)."""

    path: str
    bytes: int
    sha256: str
    plain_bytes: int
    plain_sha256: str


@dataclass(frozen=True)
class Sample:
    """The first rows by the primary key. rows: how many at most; sha256: of their texts."""

    rows: int
    sha256: str


@dataclass(frozen=True)
class Table:
    """A table that has rows of its own (no parent of partitions), and how many the dump's snapshot saw. sample: None where none was taken."""

    schema: str
    name: str
    rows: int
    sample: Sample | None = None


@dataclass(frozen=True)
class LargeObjects:
    """How many the dump's snapshot saw, and how many bytes they have."""

    count: int
    bytes: int


@dataclass(frozen=True)
class Grant:
    """One right on a database. grantee: a role, or PUBLIC as the empty text."""

    grantee: str
    grantor: str
    privilege: str
    grantable: bool


@dataclass(frozen=True)
class Database:
    """One dumped database. path: folder of the dump; catalog: file with the snapshot of its catalog; bytes: its size on the server.

    locale: of the builtin and ICU providers; acl: None where nothing was ever granted or revoked.
    tablespace: its own, and tablespaces: others that its objects lie in; empty for the usual one. Sets of before have neither, and no large_objects.
    """

    name: str
    path: str
    catalog: str
    owner: str
    encoding: str
    locale_provider: str
    locale: str | None
    collate: str
    ctype: str
    conn_limit: int
    comment: str | None
    acl: list[Grant] | None
    bytes: int
    tables: list[Table]
    extensions: dict[str, str]
    large_objects: LargeObjects | None = None
    tablespace: str = ""
    tablespaces: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


@dataclass(frozen=True)
class LeftOut:
    """A database of the server that is not in the set, and why. data: whether it may hold something that is lost with the server."""

    name: str
    why: str
    data: bool


@dataclass(frozen=True)
class Server:
    """One server. globals: roles as SQL, for people and stock tools; description: the same and all settings as JSON, for the restore.

    timescaledb_license: timescale or apache, as the server is set; None without the extension.
    """

    kind: str
    version: str
    version_num: int
    system_identifier: str
    lsn: str
    timescaledb_license: str | None
    globals: str
    description: str
    databases: list[Database]
    left_out: list[LeftOut]


@dataclass(frozen=True)
class Keys:
    """Of one logical database. keys: all; expires: those with a time to live."""

    keys: int
    expires: int


@dataclass(frozen=True)
class Redis:
    """One instance. keys: in the file; expires: those of them with a time to live; expired: those whose time was over already.

    databases: the same by the number of the logical database; None where the file does not say it.
    """

    version: str
    path: str
    keys: int
    expires: int
    expired: int
    databases: dict[str, Keys] | None = None


@dataclass(frozen=True)
class Encryption:
    """method: age or none; recipients: public keys."""

    method: str
    recipients: list[str]


@dataclass(frozen=True)
class Manifest:
    """A whole set. serial: grows with every set of a folder, whatever the clock says; host: name of the managed host; started, finished: UTC, ISO 8601."""

    id: str
    serial: int
    stack: str
    collection_version: str
    host: str
    started: str
    finished: str
    encryption: Encryption
    servers: dict[str, Server] = field(default_factory=dict)
    redis: dict[str, Redis] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def file(self, path: str) -> File:
        """The entry of one file; ManifestError where the set lacks it."""
        for found in self.files:
            if found.path == path:
                return found
        raise ManifestError(f"{NAME} names {path}, but does not list it among its files: take another set")

    def below(self, folder: str) -> list[File]:
        return [file for file in self.files if file.path.startswith(f"{folder}/")]


def write(manifest: Manifest) -> str:
    """The text of the manifest, with a checksum of its own against accidents."""
    document = {"format": FORMAT, **dataclasses.asdict(manifest, dict_factory=_present)}
    return json.dumps({**document, "sha256": _checksum(document)}, indent=1, ensure_ascii=False) + "\n"


def read(text: str) -> Manifest:
    """The manifest in a text; ManifestError says what is wrong with it."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{NAME} is damaged ({error}): take another set") from error
    if not isinstance(document, dict):
        raise ManifestError(f"{NAME} is damaged (it holds no object): take another set")
    version = document.pop("format", None)
    if isinstance(version, int) and version > FORMAT:
        raise ManifestError(f"the set has format {version}, and this version of the collection reads format {FORMAT}: use a newer version of the collection")
    checksum = document.pop("sha256", None)
    if version != FORMAT or checksum != _checksum_read({"format": version, **document}):
        raise ManifestError(f"{NAME} was changed after it was written (its checksum differs): take another set")
    manifest: Manifest = _load(Manifest, document, "")
    _check(manifest)
    return manifest


def _present(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A part of the manifest, without what it may lack."""
    return {key: value for key, value in pairs if key not in _OPTIONAL or value is not None}


def _checksum(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def _checksum_read(document: dict[str, Any]) -> str:
    """ "" where it has none: no text that is written is nested so deep, or holds halves of characters."""
    try:
        return _checksum(document)
    except (UnicodeEncodeError, RecursionError):
        return ""


def _check(manifest: Manifest) -> None:
    """What the types do not say."""
    if not ID.fullmatch(manifest.id):
        raise ManifestError(f"{NAME} has the id {manifest.id!r}, which is none: take another set")
    paths = [file.path for file in manifest.files]
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or path != str(PurePosixPath(path)):
            raise ManifestError(f"{NAME} names the file {path!r}, which lies outside the set: do not use it")
        if _CONTROL.search(path):
            raise ManifestError(f"{NAME} names the file {path!r}, which no set holds: do not use it")
    if len(set(paths)) != len(paths):
        raise ManifestError(f"{NAME} lists a file twice: take another set")
    for file in manifest.files:
        if not _SHA256.fullmatch(file.sha256) or not _SHA256.fullmatch(file.plain_sha256):
            raise ManifestError(f"{NAME} has no checksum for {file.path}: take another set")


def _load(kind: Any, data: Any, where: str) -> Any:
    """`data` as the type `kind`: a dataclass, a list or dict of them, an optional or a plain value."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if data is None else _load(next(argument for argument in arguments if argument is not type(None)), data, where)
    if origin is list and isinstance(data, list):
        return [_load(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(data)]
    if origin is dict and isinstance(data, dict):
        return {str(key): _load(arguments[1], item, f"{where}.{key}") for key, item in data.items()}
    if dataclasses.is_dataclass(kind) and isinstance(data, dict):
        return _load_dataclass(kind, data, where)
    if origin is None and isinstance(data, kind) and (kind is not int or not isinstance(data, bool)):
        return data
    raise ManifestError(f"{NAME} is damaged ({where.lstrip('.')} is of a wrong kind): take another set")


def _load_dataclass(kind: Any, data: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    odd = (set(hints) ^ set(data)) - (_LATER.get(kind, set()) & set(hints))
    if odd:
        raise ManifestError(f"{NAME} is damaged (missing or unknown: {', '.join(f'{where}.{key}'.lstrip('.') for key in sorted(odd))}): take another set")
    return kind(**{key: _load(hints[key], value, f"{where}.{key}") for key, value in data.items()})


# Fields that sets of before have not.
_LATER: dict[Any, set[str]] = {Database: {"large_objects", "tablespace", "tablespaces"}, Table: {"sample"}, Redis: {"databases"}}
