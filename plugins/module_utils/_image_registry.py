# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a registry answer? Asked over HTTP, without the engine, so that a plan can be made where none is installed yet."""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

TIMEOUT = 6.0


def answers(host: str, *, mirrors: Sequence[str] = (), proxies: Mapping[str, str] | None = None) -> bool:
    """Any HTTP answer of the registry, or of one of the engine's mirrors, counts. Bounded in time, also where name resolution hangs."""
    found = threading.Event()
    schemes = ("https", "http") if _is_loopback(host) else ("https",)
    urls = [f"{mirror.rstrip('/')}/v2/" for mirror in mirrors] + [f"{scheme}://{host}/v2/" for scheme in schemes]

    def ask() -> None:
        if any(_answers(url, proxies) for url in urls):
            found.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT * len(urls))
    return found.is_set()


def engine_proxies(info: Mapping[str, object]) -> dict[str, str] | None:
    """The engine's own proxies out of `docker info`; None: it has none, so the environment's count."""
    proxies = {kind: str(info.get(key) or "") for kind, key in (("http", "HttpProxy"), ("https", "HttpsProxy"))}
    return {kind: url for kind, url in proxies.items() if url} or None


def _is_loopback(host: str) -> bool:
    """The engine, too, talks plain HTTP to a registry on its own host."""
    return host.rpartition(":")[0].startswith("127.") or host.partition(":")[0] == "localhost"


def _answers(url: str, proxies: Mapping[str, str] | None) -> bool:
    handler = urllib.request.ProxyHandler(dict(proxies)) if proxies else urllib.request.ProxyHandler()
    try:
        urllib.request.build_opener(handler).open(url, timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return True
