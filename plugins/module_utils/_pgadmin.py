# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgAdmin's two doors: a real login over HTTP, and a request to the interpreter inside its container."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

from ansible_collections.nexanest.database.plugins.module_utils import _pgadmin_inside
from ansible_collections.nexanest.database.plugins.module_utils._docker import Docker

INTERPRETER = "/venv/bin/python3"
# Program and request arrive on stdin together: argv and environment of a process can be read by others.
LOADER = (
    "import json, sys; sent = json.load(sys.stdin); scope = {'__name__': 'inside'};"
    " exec(compile(sent['program'], 'inside', 'exec'), scope); print(json.dumps(scope['main'](sent['request'])))"
)
CSRF_TOKEN = re.compile(r"""csrf_?token["']?\s*[:=]\s*["']([^"']+)""", re.IGNORECASE)


class PgAdminError(Exception):
    """pgAdmin could not be read or changed; the text says what was tried, what went wrong and what to do."""


def accepts_login(url: str, email: str, password: str, *, timeout: float = 15) -> bool:
    """Log in as a browser does, and out again. PgAdminError where no pgAdmin answers at `url`."""
    browser = _Browser(url, timeout)
    token = CSRF_TOKEN.search(browser.request("GET", "/login").text)
    if token is None:
        raise PgAdminError(f"{url}/login does not look like pgAdmin's login page: does another program listen on this port?")
    form = {"email": email, "password": password, "csrf_token": token.group(1), "language": "en", "internal_button": "Login"}
    # A stored password that pgAdmin cannot read makes an answer of 500 instead of a refusal.
    if not browser.request("POST", "/authenticate/login", urlencode(form)).enters:
        return False
    browser.request("GET", "/logout")
    return True


@dataclass(frozen=True)
class _Answer:
    status: int
    location: str
    text: str

    @property
    def enters(self) -> bool:
        """Whether it sends on to the application, as it does after a login that was accepted."""
        return self.status < 400 and urlsplit(self.location).path.rstrip("/").endswith("/browser")


class _Browser:
    """Requests with cookies, straight to the address: no proxy, and a redirect is an answer."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self.address = urlsplit(url)
        self.timeout = timeout
        self.cookies: SimpleCookie = SimpleCookie()

    def request(self, method: str, path: str, form: str | None = None) -> _Answer:
        headers = {"User-Agent": "nexanest.database", "Cookie": "; ".join(f"{name}={cookie.value}" for name, cookie in self.cookies.items())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = HTTPConnection(self.address.hostname or "", self.address.port or 80, timeout=self.timeout)
        try:
            connection.request(method, self.address.path + path, form, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            raise PgAdminError(f"pgAdmin does not answer at {self.url}: {error}; is its container running and healthy?") from error
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie", []):
            self.cookies.load(line)
        return _Answer(status=answer.status, location=answer.headers.get("Location", ""), text=text)


def ask(docker: Docker, container: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run one request of _pgadmin_inside in the container."""
    sent = json.dumps({"program": inspect.getsource(_pgadmin_inside), "request": dict(request)})
    output = docker.execute(container, [INTERPRETER, "-I", "-c", LOADER], stdin=sent)
    if output.code != 0:
        reason = (output.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PgAdminError(f"could not look into the container {container}: {reason}; start it with the role nexanest.database.pgadmin")
    answer: dict[str, Any] = json.loads(output.stdout)
    if "error" in answer:
        raise PgAdminError(f"could not converge the account in {container}: {answer['error']}")
    return answer
