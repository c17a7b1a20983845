"""Keeps what Python compiles out of zip files: Ansible hands each task's module over as a zip, and each new interpreter would compile the same sources again.

Interpreters load this by its name, where PYTHONPATH names its folder (tests/integration/stack.py, .config/molecule/config.yml). What runs is the same:
a file of the folder in NEXANEST_TEST_COMPILED is named after the source's hash, as in CPython's own hash-based .pyc files, and the interpreter's version.
"""

from __future__ import annotations

import contextlib
import os
import sys


def _remember(folder: str) -> None:
    import _imp
    import marshal
    import zipimport

    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103  (pathlib costs each interpreter more than this saves)
    compile_source = zipimport._compile_source  # type: ignore[attr-defined]

    def remembered(path: str, source: bytes) -> object:
        name = f"{folder}/{_imp.source_hash(0, source).hex()}.{sys.implementation.cache_tag}"
        with contextlib.suppress(OSError, ValueError, TypeError, EOFError), open(name, "rb") as file:  # noqa: PTH123
            return marshal.loads(file.read())  # noqa: S302  (root's own folder)
        code: object = compile_source(path, source)
        with contextlib.suppress(OSError):
            _write(name, marshal.dumps(code))
        return code

    zipimport._compile_source = remembered  # type: ignore[attr-defined]


def _write(name: str, content: bytes) -> None:
    """Whole or not at all: others read it meanwhile."""
    partial = f"{name}.{os.getpid()}"
    with open(partial, "wb") as file:  # noqa: PTH123
        file.write(content)
    os.replace(partial, name)  # noqa: PTH105


if "NEXANEST_TEST_COMPILED" in os.environ:
    _remember(os.environ["NEXANEST_TEST_COMPILED"])
