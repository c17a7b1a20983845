# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access control lists: what must be revoked and granted so that a list says exactly what it should."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ansible_collections.nexanest.database.plugins.module_utils._databases_model import PUBLIC, Grant, Grants
from ansible_collections.nexanest.database.plugins.module_utils._databases_sql import Keyword, Name, Statement, name, statement

Rights = Mapping[str, Collection[str]]  # privileges by grantee


@dataclass(frozen=True)
class Subject:
    """What the rights are on: `ON {target}`, after an optional prefix (ALTER DEFAULT PRIVILEGES …)."""

    target: str
    names: tuple[Name, ...] = ()
    prefix: str = ""
    prefix_names: tuple[Name, ...] = ()

    def revoke(self, grantee: str) -> Statement:
        # CASCADE: what the grantee has passed on goes with it. Default privileges have nobody to pass on to.
        cascade = "" if self.prefix else " CASCADE"
        template = f"{self.prefix}REVOKE ALL ON {self.target} FROM {{}}{cascade}"
        return statement(template, *self.prefix_names, *self.names, _grantee(grantee))

    def revoke_option(self, grantee: str) -> Statement:
        return statement(f"{self.prefix}REVOKE GRANT OPTION FOR ALL ON {self.target} FROM {{}} CASCADE", *self.prefix_names, *self.names, _grantee(grantee))

    def grant(self, grantee: str, privileges: Collection[str]) -> Statement:
        words = Keyword(", ".join(sorted(privileges)))
        return statement(f"{self.prefix}GRANT {{}} ON {self.target} TO {{}}", *self.prefix_names, words, *self.names, _grantee(grantee))


def converge(subject: Subject, actual: Grants, wanted: Rights, *, judged: Collection[str] | None = None, owner: str = "") -> list[Statement]:
    """Statements that bring `actual` to `wanted`, both without the owner's own rights.

    judged: grantees whose rights are looked at; None: everybody's.
    """
    grantees = sorted({grant.grantee for grant in actual} | set(wanted)) if judged is None else sorted(judged)
    statements: list[Statement] = []
    for grantee in grantees:
        have = {grant.privilege: grant for grant in actual if grant.grantee == grantee}
        want = set(wanted.get(grantee, ()))
        surplus = [grant for grant in have.values() if grant.privilege not in want or grant.grantable]
        strangers = sorted({grant.grantor for grant in surplus} - {owner}) if owner else []
        statements += [subject.revoke_option(stranger) for stranger in strangers]
        if surplus:
            statements.append(subject.revoke(grantee))
        if want and (surplus or want - set(have)):
            statements.append(subject.grant(grantee, want))
    return statements


def shown(grants: Grants, judged: Collection[str] | None = None) -> dict[str, str]:
    """Rights by grantee, as readable data."""
    found: dict[str, list[str]] = {}
    for grant in grants:
        if judged is None or grant.grantee in judged:
            found.setdefault(grant.grantee or "PUBLIC", []).append(grant.privilege + (" WITH GRANT OPTION" if grant.grantable else ""))
    return {grantee: ", ".join(sorted(privileges)) for grantee, privileges in sorted(found.items())}


def shown_wanted(wanted: Rights) -> dict[str, str]:
    return {grantee or "PUBLIC": ", ".join(sorted(privileges)) for grantee, privileges in sorted(wanted.items()) if privileges}


def renamed(grants: Grants, old: str, new: str) -> Grants:
    """The list after ALTER … OWNER TO: the server passes the old owner's rights and grants on to the new one."""
    swap = {old: new}
    moved = (Grant(swap.get(g.grantee, g.grantee), g.privilege, swap.get(g.grantor, g.grantor), g.grantable) for g in grants)
    return frozenset(grant for grant in moved if grant.grantee != new)


def _grantee(role: str) -> Keyword | Name:
    return Keyword("PUBLIC") if role == PUBLIC else name(role)
