# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Straight to a stack's containers: psql, redis-cli and logs, on this machine or over SSH. Called by scripts/db-manage.sh.

redis-cli's password is typed for the operator into its own prompt, through a terminal of ours: it stands in no argv, environment or file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROMPT = b"password: "
PSQL = ["psql", "--no-psqlrc"]


class AccessError(Exception):
    """Said to the operator as it is."""


def describe(stack: str, *, password: bool = False) -> dict[str, Any]:
    """Where the stack's containers are and how to log in, from the inventory."""
    extra = json.dumps({"stack_connection_password": password})
    argv = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", f"inventory/{stack}/hosts.yml", "playbooks/connection.yml", "-e", extra]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "nexanest.database.report"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise AccessError("the inventory could not be read; the reason stands above")
    return dict(json.loads(done.stdout.splitlines()[0]))


def docker(where: dict[str, Any], *, terminal: bool) -> list[str]:
    """The docker client of the machine that has the containers."""
    if where["connection"] == "local":
        return _local_docker()
    if where["connection"] not in ("ssh", "paramiko", "ansible.builtin.ssh", "smart"):
        raise AccessError(f"the stack is reached over {where['connection']}: log in to {where['host']} yourself and use docker exec and docker logs there")
    key = ["-i", where["key"]] if where["key"] else []
    target = f"{where['user']}@{where['host']}" if where["user"] else where["host"]
    sudo = [] if where["user"] == "root" else ["sudo", "-n"]
    return ["ssh", *(["-t"] if terminal else []), "-p", str(where["port"]), *key, *shlex.split(where["ssh_arguments"]), target, *sudo, "docker"]


def _local_docker() -> list[str]:
    if shutil.which("docker") is None:
        raise AccessError("the docker client is not installed here: run db-start, which installs it")
    reachable = subprocess.run(["docker", "version", "--format", "."], capture_output=True, check=False).returncode == 0
    if reachable or os.geteuid() == 0:
        return ["docker"]
    if shutil.which("sudo") is None:
        raise AccessError("this user may not use Docker here, and there is no sudo: log in as root, or as a user who has sudo")
    return ["sudo", "docker"]


def command(client: Sequence[str], argv: Sequence[str]) -> list[str]:
    """argv for the client; ssh hands one text to a shell at the other end."""
    return [*client, *(shlex.join([part]) if client[0] == "ssh" else part for part in argv)]


def connect(stack: str, service: str, argv: Sequence[str]) -> int:
    """A client inside the service's container."""
    if service not in ("postgres", "timescale", "redis"):
        raise AccessError(f"connect to what? postgres, timescale or redis, not '{service}'")
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    where = describe(stack, password=service == "redis")
    login = where["logins"][service]
    flags = ["--interactive", *(["--tty"] if terminal else [])]
    client = docker(where, terminal=terminal)
    _demand_running(client, login["container"])
    if service == "redis":
        inside = ["redis-cli", "--user", login["user"], "--askpass", *argv]
        return _with_password(command(client, ["exec", *flags, login["container"], *inside]), where["redis_password"], terminal, bool(argv))
    database = [] if _names_database(argv) else [f"--dbname={login['database']}"]
    # The socket's peer map lets the server's own operating system user in as the administrator, without a password.
    inside = [*PSQL, f"--username={login['user']}", *database, *argv]
    whole = command(client, ["exec", *flags, login["container"], *inside])
    return _become(whole)


def _demand_running(client: Sequence[str], container: str) -> None:
    """Docker's own words name no remedy. Over SSH a question more costs a connection more, so there they stay."""
    if client[0] == "ssh":
        return
    state = subprocess.run([*client, "inspect", "--format", "{{.State.Running}}", container], stdout=subprocess.PIPE, text=True, check=False)
    if state.returncode != 0:
        raise AccessError(f"the container {container} could not be looked at; the reason stands above. Where it is not there, db-start makes it")
    if state.stdout.strip() != "true":
        raise AccessError(f"the container {container} is not running: db-status tells why, db-start starts it")


def _become(argv: Sequence[str]) -> int:
    """The client takes our place, so that signals and the terminal are its own."""
    os.execvp(argv[0], list(argv))


def _names_database(argv: Sequence[str]) -> bool:
    return any(word == "-d" or word.startswith(("-d", "--dbname")) for word in argv)


def _with_password(argv: Sequence[str], password: str, terminal: bool, has_command: bool) -> int:
    if terminal:
        return _in_terminal(argv, password)
    # Without a terminal redis-cli reads the password as the first line of its input.
    commands = b"" if has_command and sys.stdin.isatty() else sys.stdin.buffer.read()
    done = subprocess.run(argv, input=password.encode() + b"\n" + commands, check=False)
    return done.returncode


def _in_terminal(argv: Sequence[str], password: str) -> int:
    """Run in a terminal of ours, answer its first prompt, and hand everything else through."""
    size = _size(sys.stdout.fileno())
    process, inner = pty.fork()
    if process == 0:
        fcntl.ioctl(sys.stdout.fileno(), termios.TIOCSWINSZ, size)
        os.execvp(argv[0], list(argv))
    signal.signal(signal.SIGWINCH, lambda _signal, _frame: fcntl.ioctl(inner, termios.TIOCSWINSZ, _size(sys.stdout.fileno())))
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        _hand_through(inner, password.encode() + b"\r")  # the key Enter, in a raw terminal
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _hand_through(inner: int, answer: bytes) -> None:
    """Copy both ways until the program inside ends; the answer goes in at the first prompt."""
    seen = b""
    with contextlib.suppress(OSError):  # what reading a terminal raises when its program has ended
        while True:
            readable, _writable, _special = select.select([inner, sys.stdin], [], [])
            if sys.stdin in readable:
                os.write(inner, os.read(sys.stdin.fileno(), 1024))
            if inner in readable:
                data = os.read(inner, 4096)
                os.write(sys.stdout.fileno(), data)
                seen += data if answer else b""
                if answer and PROMPT in seen:
                    os.write(inner, answer)
                    answer = b""


def _size(terminal: int) -> bytes:
    """Rows and columns: the terminal inside is as large as the operator's."""
    return fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))


def logs(stack: str, arguments: Sequence[str]) -> int:
    """Logs of all containers, each line with its container's name; of one container as they are."""
    follow = [flag for flag in arguments if flag in ("-f", "--follow")]
    services = [word for word in arguments if word not in follow]
    where = describe(stack)
    client = docker(where, terminal=False)
    listed = subprocess.run(
        command(client, ["ps", "--all", "--filter", f"label={where['label']}", "--format", "{{.Names}}"]), stdout=subprocess.PIPE, text=True, check=False
    )
    containers = sorted(listed.stdout.split())
    if listed.returncode != 0:
        raise AccessError(f"Docker on {where['host']} could not be asked; the reason stands above")
    if not containers:
        raise AccessError(f"the stack {where['stack']} has no containers on {where['host']}: run db-start")
    chosen = [name for name in containers if not services or name in {f"{where['stack']}-{service}" for service in services}]
    if not chosen:
        names = ", ".join(name.removeprefix(f"{where['stack']}-") for name in containers)
        raise AccessError(f"there is no service {' '.join(services)}: the stack {where['stack']} has {names}")
    commands = [command(client, ["logs", *(["--follow"] if follow else []), *(["--tail", "200"] if len(chosen) > 1 else []), name]) for name in chosen]
    if len(chosen) == 1:
        return _become(commands[0])
    return _merge(chosen, commands)


def _merge(names: Sequence[str], commands: Sequence[Sequence[str]]) -> int:
    width = max(len(name) for name in names)
    lock = threading.Lock()
    started = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for argv in commands]

    def copy(name: str, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            with lock:
                sys.stdout.buffer.write(f"{name:<{width}} | ".encode() + line.rstrip(b"\r\n") + b"\n")
                sys.stdout.buffer.flush()

    readers = [threading.Thread(target=copy, args=pair, daemon=True) for pair in zip(names, started, strict=True)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return max(process.wait() for process in started)


def main() -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    stack, verb, *arguments = sys.argv[1:]
    try:
        if verb == "logs":
            return logs(stack, arguments)
        return connect(stack, arguments[0] if arguments else "", arguments[1:])
    except AccessError as error:
        print(f"db-manage: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
