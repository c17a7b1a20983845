# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from a real registry, Debian's docker-registry on loopback: pulled, layered, and what happens where it has not got them.

The official images themselves are on no package mirror. Their stand-in is the built server without the packages that the official one lacks.
"""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modules import ROOT, run_module
from servers import postgres_image, postgres_server
from stack import docker
from test_verbs import free_port

# Minutes of apt-get; make test-long.
pytestmark = pytest.mark.long

LAYER = (ROOT / "roles" / "images" / "files" / "postgres-layered" / "Dockerfile").read_text(encoding="utf-8")
OFFICIAL = """
FROM {built}
LABEL nexanest.database.flavour=""
USER root
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get purge -qy postgresql-17-cron postgresql-17-pgaudit pgbackrest
"""
CONFIGURATION = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}"}}
log: {{level: error}}
"""
REPOSITORY = "registrytest"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry that has one image, library/postgres:17."""
    folder = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{free_port()}"
    configuration = folder / "config.yml"
    configuration.write_text(CONFIGURATION.format(folder=folder / "data", address=address))
    with subprocess.Popen([str(program(folder)), "serve", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait(address)
            push_official(folder, f"{address}/library/postgres:17")
            yield address
        finally:
            server.terminate()
            remove_images(address)


def program(folder: Path) -> Path:
    """The registry's program out of its package: installed, the package would start a service that listens on all addresses."""
    folder.chmod(0o755)
    subprocess.run(["apt-get", "download", "-q", "docker-registry"], cwd=folder, check=True, capture_output=True, timeout=120)
    subprocess.run(["dpkg-deb", "--extract", str(next(folder.glob("*.deb"))), str(folder)], check=True, timeout=60)
    return folder / "usr" / "bin" / "docker-registry"


def wait(address: str) -> None:
    for _attempt in range(100):
        connection = http.client.HTTPConnection(address, timeout=2)
        try:
            connection.request("GET", "/v2/")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise AssertionError(f"no registry answered at {address} within 10 s")


def push_official(folder: Path, image: str) -> None:
    context = folder / "official"
    context.mkdir()
    (context / "Dockerfile").write_text(OFFICIAL.format(built=postgres_image()))
    docker("build", "--network", "host", "--tag", image, str(context), timeout=300)
    docker("push", image)
    docker("rmi", image)


def remove_images(address: str) -> None:
    for reference in (f"{REPOSITORY}/*", f"{address}/*/*"):
        found = docker("image", "ls", "--quiet", "--filter", f"reference={reference}").split()
        if found:
            docker("rmi", "--force", *sorted(set(found)))


def service(registry: str, *, image: str = "library/postgres:17", recipe: str = "FROM ${BASE}") -> dict[str, Any]:
    files = {"Dockerfile": f"ARG BASE\n{recipe}\n"}
    return {
        "image": "", "flavour": "", "registry": f"{registry}/{image}", "registry_mb": 1,
        "recipe": {"repository": f"{REPOSITORY}/built", "version": "1", "parent": "base", "files": files},
        "layer": {"repository": f"{REPOSITORY}/layered", "version": "17", "parent": "registry", "files": {"Dockerfile": LAYER}},
    }  # fmt: skip


def make(known: dict[str, Any], *, source: str = "auto", check: bool = False) -> dict[str, Any]:
    rules = [{"repository": f"{REPOSITORY}/layered", "flavour": "postgres_layered"}]
    return run_module("docker_images", {"services": {"postgres": known}, "wanted": ["postgres"], "source": source, "rules": rules}, check=check)


def test_an_image_is_pulled_and_gets_what_it_lacks(registry: str) -> None:
    known = service(registry)
    planned = make(known, check=True)
    done = make(known)
    assert done["images"]["postgres"]["origin"] == "registry", done
    assert done["images"]["postgres"]["flavour"] == "postgres_layered"
    assert planned["objects"] == done["objects"]
    assert [item["name"] for item in done["objects"]] == [f"{registry}/library/postgres:17", done["images"]["postgres"]["image"]]
    with postgres_server(image=done["images"]["postgres"]["image"], settings=["shared_preload_libraries=pg_cron,pgaudit"], prefix=REPOSITORY) as server:
        server.query("CREATE EXTENSION pg_cron")
        server.query("CREATE EXTENSION pgaudit")
        assert docker("exec", server.container, "pgbackrest", "version").startswith("pgBackRest")
    assert make(known)["changed"] is False


def test_a_failed_pull_falls_back_to_the_build(registry: str) -> None:
    done = make(service(registry, image="library/postgres:18"))
    assert done["images"]["postgres"]["origin"] == "built", done
    assert docker("image", "ls", "--quiet", done["images"]["postgres"]["image"]).strip()


def test_a_missing_image_is_refused_by_name_where_only_the_registry_is_asked(registry: str) -> None:
    done = make(service(registry, image="library/postgres:19", recipe="FROM ${BASE} AS other"), source="registry")
    assert done["failed"]
    assert f"{registry}/library/postgres:19" in done["msg"]
    assert "run it again" in done["msg"]
    assert not [name for name in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split() if "postgres:19" in name]
