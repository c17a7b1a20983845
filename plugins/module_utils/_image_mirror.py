# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution's mirror and apt's proxy, from the host's own apt configuration. Pure, but for `read`."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Source:
    """One line or stanza of apt's sources: where, which suites, which components."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]


@dataclass(frozen=True)
class Mirror:
    """Where Debian's packages come from. security: empty where the host uses none. settings: apt's proxy settings, as in apt.conf."""

    main: str
    security: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def sources(self, suite: str) -> str:
        """apt's sources for that suite, with its updates and security fixes."""
        text = _stanza(self.main, f"{suite} {suite}-updates")
        return text + ("\n" + _stanza(self.security, f"{suite}-security") if self.security else "")

    def apt_conf(self) -> str:
        return "".join(f'{key} "{value}";\n' for key, value in sorted(self.settings.items()))


def read(root: Path = Path("/etc/apt")) -> Mirror | None:
    """This host's mirror; None where its sources name none that speaks HTTP."""
    lines = [root / "sources.list", *sorted((root / "sources.list.d").glob("*.list"))]
    sources = [source for file in lines if file.is_file() for source in parse_list(file.read_text(encoding="utf-8"))]
    for file in sorted((root / "sources.list.d").glob("*.sources")):
        sources += parse_deb822(file.read_text(encoding="utf-8"))
    return mirror(sources, proxy_settings(_apt_config()))


def mirror(sources: Sequence[Source], settings: Mapping[str, str]) -> Mirror | None:
    """Debian's main archive among apt's sources, and its security archive: told apart by the suites' names."""
    main = _first(sources, lambda suite: suite in {"bookworm", "trixie", "stable", "oldstable", "testing"})
    security = _first(sources, lambda suite: suite.endswith("-security"))
    return Mirror(main=main, security=security, settings=settings) if main else None


def parse_list(text: str) -> list[Source]:
    """The one-line format: deb [options] uri suite component ..."""
    found = []
    for line in text.splitlines():
        content = line.partition("#")[0].strip()
        if not content.startswith(("deb ", "deb\t")):
            continue
        rest = content[3:].strip()
        if rest.startswith("["):
            rest = rest.partition("]")[2].strip()
        uri, *words = rest.split()
        if words:
            found.append(Source((uri,), (words[0],), tuple(words[1:])))
    return found


def parse_deb822(text: str) -> list[Source]:
    """The stanza format: Types, URIs, Suites, Components, Enabled."""
    found = []
    for stanza in _stanzas(text):
        if "deb" in stanza.get("types", "").split() and stanza.get("enabled", "yes").lower() not in {"no", "false", "0"}:
            lists = (tuple(stanza.get(key, "").split()) for key in ("uris", "suites", "components"))
            found.append(Source(*lists))
    return found


def proxy_settings(dump: str) -> dict[str, str]:
    """Proxy settings out of `apt-config dump`; nothing else of the host's configuration belongs into an image."""
    settings = {}
    for line in dump.splitlines():
        words = shlex.split(line.rstrip(";"), comments=False) if line.count('"') == 2 else []
        if len(words) == 2 and words[1] and words[0].lower().startswith(("acquire::http::proxy", "acquire::https::proxy")):
            settings[words[0]] = words[1]
    return settings


def _stanzas(text: str) -> list[dict[str, str]]:
    stanzas: list[dict[str, str]] = [{}]
    key = ""
    for line in text.splitlines():
        if not line.strip():
            stanzas.append({})
        elif line.startswith("#"):
            continue
        elif line[0] in " \t":
            stanzas[-1][key] = stanzas[-1].get(key, "") + " " + line.strip()
        else:
            name, _colon, value = line.partition(":")
            key = name.strip().lower()
            stanzas[-1][key] = value.strip()
    return [stanza for stanza in stanzas if stanza]


def _first(sources: Sequence[Source], fits: Callable[[str], bool]) -> str:
    for source in sources:
        if "main" in source.components and any(fits(suite.rstrip("/").removesuffix("/updates")) for suite in source.suites):
            uris = [uri.rstrip("/") for uri in source.uris if uri.startswith(("http://", "https://"))]
            if uris:
                return uris[0]
    return ""


def _stanza(uri: str, suites: str) -> str:
    return f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n"


def _apt_config() -> str:
    try:
        return subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
