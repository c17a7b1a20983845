#!/usr/bin/python
# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converge the folders and files that belong together, all of them proven before the first is replaced."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Converge folders and files that belong together
version_added: 0.1.0
description:
  - Makes folders, and writes files into them, with their owners, groups and modes.
  - All new contents are written beside their places and synced before the first of them takes its place, so that a full disk leaves all of them as
    they were. Before the first that has a check takes its place, all that have one are checked, so that one refused file leaves it and all after it as
    they were. Each takes its place by one rename, so that a crash leaves the old or the new one.
  - One call does for a whole service what takes M(ansible.builtin.file), M(ansible.builtin.copy) and M(ansible.builtin.template) two calls a file.
    Contents come from the lookups P(ansible.builtin.template#lookup) and P(ansible.builtin.file#lookup).
  - A file has the mode it shall have before it has contents.
options:
  folders:
    description: In the order in which they are made. Missing folders above them are made, too.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute. Below the first of them, a symbolic link where others than the user of the run can write is no folder.
        type: path
        required: true
      owner: &owner
        description: A name, or a number.
        type: str
        default: root
      group: &group
        description: A name, or a number. The number of O(folders[].owner), or O(files[].owner), where it is not given.
        type: str
      mode: &mode
        description: Four octal digits.
        type: str
        required: true
  follow:
    description: Whether a symbolic link to a folder is as good as a folder.
    type: bool
    default: true
  files:
    description: In the order in which they take their places. A check that is itself one of the files stands before those that it checks.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute. What is there and is no regular file, but a symbolic link, is replaced; what a link points to is not touched.
        type: path
        required: true
      content:
        description: What the file shall hold. Needed where O(secrets) does not have it.
        type: str
      validate:
        description: >-
          A command that is asked whether it would take the new contents; C(%s) is the file's name. There is no shell. It is not asked in check mode,
          nor where the contents stay as they are.
        type: str
        default: ""
      replace:
        description: Whether other contents are replaced. If V(false), they stay, and only owner, group and mode are converged.
        type: bool
        default: true
      owner: *owner
      group: *group
      mode: *mode
  secrets:
    description: Contents by the path of their file. They are in no diff and no log.
    type: dict
    default: {}
extends_documentation_fragment:
  - nexanest.database.attributes
author: "The nexanest.database authors (@nexanest)"
"""

EXAMPLES = r"""
- name: Write what a server reads
  nexanest.database.host_files:
    folders:
      - {path: /etc/shop, mode: "0755"}
      - {path: /etc/shop/secrets, owner: "999", mode: "0500"}
    files:
      - path: /etc/shop/server.conf
        content: "{{ lookup('ansible.builtin.template', 'server.conf.j2') }}"
        mode: "0644"
        validate: server --check %s
      - {path: /etc/shop/secrets/password, owner: "999", mode: "0400"}
    secrets:
      /etc/shop/secrets/password: "{{ shop_password }}"
"""

RETURN = r"""
objects:
  description: The plan as data.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: file
      name: /etc/shop/server.conf
      action: update
"""

import grp
import pwd
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nexanest.database.plugins.module_utils import _host_files as host
from ansible_collections.nexanest.database.plugins.module_utils._changes import diff, objects
from ansible_collections.nexanest.database.plugins.module_utils._host_files import File, Folder, HostFilesError, Rights

RIGHTS = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str"},
    "mode": {"type": "str", "required": True},
}
CONTENT = {"content": {"type": "str"}, "validate": {"type": "str", "default": ""}, "replace": {"type": "bool", "default": True}}
# Of users and groups: the last one means that nothing is to be changed.
LAST_NUMBER = 2**32 - 1
ARGUMENTS = {
    "folders": {"type": "list", "elements": "dict", "default": [], "options": RIGHTS},
    "follow": {"type": "bool", "default": True},
    "files": {"type": "list", "elements": "dict", "default": [], "options": {**RIGHTS, **CONTENT}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
}


def number(name: str, known: Callable[[str], int], what: str) -> int:
    """Of a user or a group that is given by its name or its number."""
    if name.isdecimal() and int(name) < LAST_NUMBER:
        return int(name)
    try:
        return known(name)
    except KeyError:
        raise HostFilesError(f"this host has no {what} {name}: give one that it has, or a number") from None


def rights(given: Mapping[str, Any]) -> Rights:
    owner = number(given["owner"], lambda name: pwd.getpwnam(name).pw_uid, "user")
    group = owner if given["group"] is None else number(given["group"], lambda name: grp.getgrnam(name).gr_gid, "group")
    if len(given["mode"]) != 4 or set(given["mode"]) - set("01234567"):
        raise HostFilesError(f"the mode of {given['path']} is {given['mode']}: give four octal digits in quotes, as '0644'")
    return Rights(owner, group, int(given["mode"], 8))


def place(path: str) -> Path:
    if not path.startswith("/") or ".." in Path(path).parts:
        raise HostFilesError(f"{path} is no absolute path: it must begin with a slash, and have no .. in it")
    # Path keeps two slashes at the beginning.
    return Path("/", *Path(path).parts[1:])


def base_of(path: Path, folders: Sequence[Path]) -> Path:
    """The first of the folders that is, or is above, a path; without one the folder that holds it."""
    return next((folder for folder in folders if path.is_relative_to(folder)), path.parent)


def file_of(given: Mapping[str, Any], secrets: Mapping[Path, Any], folders: Sequence[Path]) -> File:
    path = place(given["path"])
    if (path in secrets) == (given["content"] is not None):
        raise HostFilesError(f"the contents of {path} must be given once: as content or in secrets")
    content = secrets.get(path, given["content"])
    if not isinstance(content, str):
        raise HostFilesError(f"the contents of {path} must be a text")
    return File(path, rights(given), base_of(path, folders), encoded(path, content), check_of(given), given["replace"], path in secrets)


def encoded(path: Path, content: str) -> bytes:
    try:
        return content.encode()
    except UnicodeEncodeError:
        raise HostFilesError(f"the contents of {path} are no text that can be written as UTF-8") from None


def check_of(given: Mapping[str, Any]) -> str:
    """The command, which can be split into words and names the candidate."""
    try:
        if not given["validate"] or any("%s" in word for word in shlex.split(given["validate"])):
            return str(given["validate"])
    except ValueError as error:
        raise HostFilesError(f"the check of {given['path']} is no command: {error}") from None
    raise HostFilesError(f"the check of {given['path']} must have %s where the file's name belongs")


def wanted(parameters: Mapping[str, Any]) -> tuple[list[Folder], list[File]]:
    """The input, where all of it makes sense."""
    secrets = {place(path): content for path, content in parameters["secrets"].items()}
    listed = [place(given["path"]) for given in parameters["folders"]]
    folders = [Folder(path, rights(given), base_of(path, listed)) for path, given in zip(listed, parameters["folders"], strict=True)]
    files = [file_of(given, secrets, listed) for given in parameters["files"]]
    paths = [*listed, *(file.path for file in files)]
    for path in paths:
        if paths.count(path) > 1:
            raise HostFilesError(f"{path} is given twice")
    unknown = sorted(str(path) for path in set(secrets) - set(paths))
    if unknown:
        raise HostFilesError(f"secrets has contents for {', '.join(unknown)}: no file has this path")
    return folders, files


def converge(parameters: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """What the module returns."""
    follow = parameters["follow"]
    folders, files = wanted(parameters)
    of_folders = [(folder, change) for folder in folders if (change := host.folder_change(folder, follow=follow))]
    host.refuse_homeless(files, folders)
    found = [(file, host.find(file)) for file in files]
    of_files = [(file, there, change) for file, there in found if (change := host.file_change(file, there))]
    if not check:
        host.sweep(files)
        for folder, _change in of_folders:
            host.make_folder(folder, follow=follow)
        host.write_files([(file, there) for file, there, _change in of_files])
    changes = [change for _folder, change in of_folders] + [change for _file, _there, change in of_files]
    return {"changed": bool(changes), "diff": diff(changes), "objects": objects(changes)}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = converge(module.params, check=module.check_mode)
    except HostFilesError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
