# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of secrets: the operator's, and those that are made once and kept."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secret
short_description: Secrets of a stack
version_added: 0.1.0
author: The nexanest.database authors (@nexanest)
description:
  - Reads a secret from the operator's file (O(env_file)), or from a folder of files (O(secrets_dir)), where a missing one is made and kept.
  - A made secret has 32 letters and digits. Its file has mode 0600 in a folder of mode 0700 and is written whole or not at all,
    also when several workers ask for it at once.
  - In check mode nothing is written. A secret that does not exist yet is then a stand-in, the same one throughout the run.
  - A value is never read as a template, whatever it holds.
options:
  _terms:
    description:
      - With O(secrets_dir), names such as V(postgres/auth_app); its file is C(postgres_auth_app).
      - With O(env_file), names such as V(POSTGRES_PASSWORD).
    required: true
    type: list
    elements: str
  secrets_dir:
    description: Folder of the made secrets, on the controller.
    type: str
  env_file:
    description: The operator's file, on the controller. Empty means that there is none, because all its values come from elsewhere.
    type: str
  create:
    description: Whether a missing secret is made. Where it is not, its absence is an error. The variable must be a plain boolean, no template.
    type: bool
    default: true
    vars:
      - name: stack_secrets_create
  missing:
    description: What to do where a secret that is not made is missing, for the error.
    type: str
    default: the first run of db-start makes it
notes:
  - One of O(secrets_dir) and O(env_file) must be given.
  - Before the operator's file is there, check mode shows the variable C(stack_pgadmin_email_default) for V(PGADMIN_EMAIL).
"""

EXAMPLES = r"""
- name: Read the operator's password for PostgreSQL
  ansible.builtin.set_fact:
    password: "{{ lookup('nexanest.database.secret', 'POSTGRES_PASSWORD', env_file='/srv/project/.env.db') }}"
  no_log: true

- name: Read the password of a service's role, made on first use
  ansible.builtin.set_fact:
    password: "{{ lookup('nexanest.database.secret', 'postgres/auth_app', secrets_dir='/srv/project/secrets/nexanest') }}"
  no_log: true

- name: Read a password that must be there
  ansible.builtin.set_fact:
    password: "{{ lookup('nexanest.database.secret', 'redis/auth', secrets_dir='/srv/project/secrets/nexanest', create=false, missing='copy it there') }}"
  no_log: true
"""

RETURN = r"""
_raw:
  description: The secrets, in the order of the terms.
  type: list
  elements: str
  sample:
    - 4rJbW0vDdE1nqTzYx8LkU3mCsHfP7aQi
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.nexanest.database.plugins.module_utils import _env_file, _secrets
from ansible_collections.nexanest.database.plugins.module_utils._run import main_process


class LookupModule(LookupBase):
    """Reads on the controller, as the user who runs Ansible."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        env_file, secrets_dir = self.get_option("env_file"), self.get_option("secrets_dir")
        if (env_file is None) == (secrets_dir is None):
            raise AnsibleLookupError("name one of env_file (the operator's file) and secrets_dir (made secrets), not both")
        variables = variables or {}
        check_mode = bool(variables.get("ansible_check_mode"))
        try:
            if env_file is not None and check_mode:
                email = str(self._templar.template(variables.get("stack_pgadmin_email_default", "admin@nexanest.local")))
                return _from_file(terms, env_file, email)
            if env_file is not None:
                return _from_file(terms, env_file, None)
            return [self._from_folder(term, Path(secrets_dir).expanduser(), check_mode) for term in terms]
        except _secrets.SecretError as error:
            raise AnsibleLookupError(str(error)) from error

    def _from_folder(self, term: str, folder: Path, check_mode: bool) -> str:
        path = folder / _secrets.file_name(term)
        value = _secrets.read(path)
        if value is not None:
            return value
        if not self.get_option("create"):
            raise _secrets.SecretError(f"the secret {path} does not exist yet: {self.get_option('missing')}")
        return _secrets.ephemeral(term, main_process()) if check_mode else _secrets.ensure(path)


def _from_file(terms: list[str], env_file: str, planned_email: str | None) -> list[str]:
    """The operator's values; stand-ins where there is no file yet and check mode plans (then planned_email is given)."""
    if not env_file:
        wanted = ", ".join(terms)
        raise _secrets.SecretError(f"{wanted} is wanted, but there is no secrets file: name one in stack_env_file, or define the variable itself (Vault)")
    path = Path(env_file).expanduser()
    values = _values(path)
    if values is None:
        if planned_email is None:
            raise _secrets.SecretError(f"the secrets file {path} does not exist yet: the first run of db-start makes it")
        return [planned_email if term == _env_file.EMAIL_KEY else _secrets.ephemeral(term, main_process()) for term in terms]
    unknown = [term for term in terms if term not in values]
    if unknown:
        raise _secrets.SecretError(f"the secrets file {path} knows no {unknown[0]}: its names are {', '.join(_env_file.KEYS)}")
    return [values[term] for term in terms]


def _values(path: Path) -> dict[str, str] | None:
    """What the operator's file says; None where there is no file."""
    try:
        found = _env_file.parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _secrets.SecretError(f"could not read the secrets file {path} ({error.strerror}): the user who runs Ansible must be able to") from error
    if found.problems:
        raise _secrets.SecretError(f"the secrets file {path} cannot be used: {'; '.join(found.problems)}.")
    return found.values
