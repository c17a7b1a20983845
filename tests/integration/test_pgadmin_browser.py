# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person with a browser: log in to pgAdmin, open both servers, run a query. The screenshot is the one of the README.

PGADMIN_SCREENSHOT names the picture's file (default: .cache/tests/pgadmin.png); docs/images/pgadmin.png is renewed with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import docker
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from stack import ROOT, Stack

# Debian's own browser: playwright's would be another download.
CHROMIUM = "/usr/bin/chromium"
# Two cores that also deploy other stacks are slow.
PATIENCE_MS = 90_000
# pgAdmin brings the tree and the tools of the last visit back; the test begins as a first visit.
FIRST_VISIT = """
import sqlite3
with sqlite3.connect("/var/lib/pgadmin/pgadmin4.db", timeout=20) as database:
    database.execute("DELETE FROM setting")
    database.execute("DELETE FROM application_state")
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert Path(CHROMIUM).exists(), f"{CHROMIUM} is missing: apt-get install chromium fonts-dejavu-core"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    docker("exec", "-i", stack.container("pgadmin"), "/venv/bin/python3", "-", stdin=FIRST_VISIT)
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    opened.close()


def log_in(page: Page, stack: Stack, password: str) -> None:
    page.goto(f"http://127.0.0.1:{stack.ports.pgadmin}/")
    page.fill("input[name=email]", stack.pgadmin_email)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")


def node(page: Page, name: str) -> Locator:
    """An entry of the tree; the menu's account name must not match NexaNest's."""
    return page.locator("span.file-name").get_by_text(name, exact=True)


def open_server(page: Page, name: str) -> None:
    """Open it by a double click; a prompt for a password would stand over the tree instead of its databases."""
    known = node(page, "Databases").count()
    node(page, name).dblclick()
    expect(node(page, "Databases")).to_have_count(known + 1, timeout=PATIENCE_MS)
    expect(page.locator("input[type=password]:visible")).to_have_count(0)


def run_query(page: Page, database: str, query: str) -> list[str]:
    """The cells of the first row, from the topmost open server."""
    known = node(page, database).count()
    node(page, "Databases").first.dblclick()
    expect(node(page, database)).to_have_count(known + 1, timeout=PATIENCE_MS)
    node(page, database).first.click()
    page.get_by_role("button", name="Query Tool", exact=True).click()
    tool = page.frame_locator("iframe").last
    tool.locator(".cm-content").first.click()
    page.keyboard.insert_text(query)
    tool.get_by_role("button", name="Execute script", exact=True).click()
    row = tool.locator("[role=row][aria-rowindex='2'] [role=gridcell]")
    row.nth(1).wait_for()
    return row.all_inner_texts()[1:]


def screenshot(page: Page) -> None:
    """Without the folded tree's tool tip and the success message, which come and go."""
    path = Path(os.environ.get("PGADMIN_SCREENSHOT") or ROOT / ".cache" / "tests" / "pgadmin.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    page.mouse.move(640, 620)
    page.wait_for_timeout(4000)
    page.screenshot(path=path)
    assert path.stat().st_size < 200_000, f"{path} is too large for the README"


def test_a_wrong_password_does_not_enter(page: Page, stack: Stack) -> None:
    log_in(page, stack, "not this one")
    page.get_by_text("Incorrect username or password").or_(page.get_by_text("more attempts remaining")).first.wait_for()
    assert page.url.endswith("/login?next=/browser/") or "/login" in page.url


def test_both_servers_open_without_a_prompt_and_answer_a_query(page: Page, stack: Stack) -> None:
    log_in(page, stack, stack.secret("PGADMIN_PASSWORD"))
    page.wait_for_url("**/browser/", wait_until="commit")
    node(page, "Servers").dblclick()
    # From the bottom up: the server that was opened last is then the topmost one.
    open_server(page, "TimescaleDB")
    assert run_query(page, "postgres", "SELECT 'TimescaleDB', current_setting('server_version')")[0] == "TimescaleDB"
    open_server(page, "PostgreSQL")
    cells = run_query(page, "postgres", "SELECT version(), count(*) AS databases FROM pg_database WHERE NOT datistemplate")
    assert cells[0].startswith("PostgreSQL 17")
    assert int(cells[1]) >= 1
    screenshot(page)
