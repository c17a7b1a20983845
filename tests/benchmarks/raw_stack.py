"""The same containers by hand: `docker run` commands derived from a running stack, so that both sides of the comparison start the same thing."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from typing import Any

LABEL = "nexanest.database.stack"


def docker(*argv: str) -> str:
    return subprocess.run(["docker", *argv], check=True, capture_output=True, text=True).stdout


def names(kind: str, stack: str) -> list[str]:
    column = "{{.Names}}" if kind == "container" else "{{.Name}}"
    every = ["--all"] if kind == "container" else []
    return docker(kind, "ls", *every, "--filter", f"label={LABEL}={stack}", "--format", column).split()


def commands(stack: str) -> list[list[str]]:
    """argv lists that make the stack's networks and containers again."""
    steps = [_network(json.loads(docker("network", "inspect", name))[0]) for name in names("network", stack)]
    steps += [["docker", "volume", "create", f"--label={LABEL}={stack}", name] for name in names("volume", stack)]
    for name in sorted(names("container", stack)):
        steps += _container(json.loads(docker("container", "inspect", name))[0])
    return steps


def _network(document: dict[str, Any]) -> list[str]:
    options = [f"--opt={key}={value}" for key, value in document["Options"].items()]
    internal = ["--internal"] if document["Internal"] else []
    labels = [f"--label={key}={value}" for key, value in document["Labels"].items()]
    return ["docker", "network", "create", *internal, *options, *labels, document["Name"]]


def _container(document: dict[str, Any]) -> list[list[str]]:
    name = document["Name"].lstrip("/")
    networks = sorted(document["NetworkSettings"]["Networks"], key=lambda network: not network.endswith("-data"))
    first, *others = networks
    aliases = [alias for alias in document["NetworkSettings"]["Networks"][first]["Aliases"] or [] if not document["Id"].startswith(alias)]
    create = ["docker", "create", f"--name={name}", f"--network={first}", *[f"--network-alias={alias}" for alias in aliases]]
    create += _limits(document["HostConfig"]) + _storage(document) + _identity(document["Config"])
    create += [document["Config"]["Image"], *(document["Config"]["Cmd"] or [])]
    return [create, *[["docker", "network", "connect", network, name] for network in others], ["docker", "start", name]]


def _limits(host: dict[str, Any]) -> list[str]:
    ports = [f"--publish={binding['HostIp']}:{binding['HostPort']}:{port}" for port, bindings in (host["PortBindings"] or {}).items() for binding in bindings]
    return [
        "--init", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--restart=unless-stopped",
        f"--memory={host['Memory']}", f"--memory-swap={host['MemorySwap']}", f"--shm-size={host['ShmSize']}", f"--pids-limit={host['PidsLimit']}",
        *[f"--tmpfs={target}:{options}" for target, options in (host.get("Tmpfs") or {}).items()],
        *ports,
    ]  # fmt: skip


def _storage(document: dict[str, Any]) -> list[str]:
    return [
        f"--mount=type={mount['Type']},src={mount.get('Name') or mount['Source']},dst={mount['Destination']}" + ("" if mount["RW"] else ",readonly")
        for mount in document["Mounts"]
        if mount["Type"] in ("volume", "bind")
    ]


def _identity(config: dict[str, Any]) -> list[str]:
    health = config.get("Healthcheck") or {}
    argv = [f"--user={config['User']}", *[f"--env={pair}" for pair in config["Env"]], *[f"--label={key}={value}" for key, value in config["Labels"].items()]]
    if health:
        # docker run knows health commands in shell form only; the commands themselves are the same.
        argv += [f"--health-cmd={shlex.join(health['Test'][1:])}", f"--health-interval={health['Interval'] // 10**9}s"]
        argv += [f"--health-timeout={health['Timeout'] // 10**9}s", f"--health-retries={health['Retries']}"]
    return argv


def start(steps: list[list[str]], containers: list[str], *, limit: float = 300) -> None:
    """Run the commands, then wait until every container is healthy."""
    for argv in steps:
        subprocess.run(argv, check=True, capture_output=True)
    deadline = time.monotonic() + limit
    while any(docker("inspect", "--format", "{{.State.Health.Status}}", name).strip() != "healthy" for name in containers):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not healthy after {limit:.0f} s: {containers}")
        time.sleep(0.2)


def remove(stack: str) -> None:
    """Remove what carries the stack's label: containers, then networks and volumes."""
    for kind, command in (("container", ["rm", "--force"]), ("network", ["rm"]), ("volume", ["rm"])):
        found = names(kind, stack)
        if found:
            docker(kind, *command, *found)
