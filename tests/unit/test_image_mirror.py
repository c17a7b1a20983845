# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0-or-later (see LICENSE)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's mirror and apt's proxy out of apt's own configuration, and pip's options for the image."""

from __future__ import annotations

import pytest

from ansible_collections.nexanest.database.plugins.module_utils._image_mirror import Mirror, Source, mirror, parse_deb822, parse_list, proxy_settings
from ansible_collections.nexanest.database.plugins.module_utils._image_progress import DOCKER_STEP, docker_step
from ansible_collections.nexanest.database.plugins.module_utils._image_wheels import count, image_options

ONE_LINE = """\
# deb http://old.test/debian bookworm main
deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://mirror.test/debian/ bookworm main contrib  # comment
deb-src http://mirror.test/debian bookworm main
deb http://mirror.test/security bookworm-security main
"""
STANZAS = """\
Types: deb deb-src
URIs: https://mirror.test/debian
Suites: trixie
 trixie-updates
# a comment in between
Components: main

Types: deb
URIs: https://mirror.test/security
Suites: trixie-security
Components: main

Enabled: no
Types: deb
URIs: https://off.test/debian
Suites: trixie
Components: main
"""


def test_one_line_sources_give_main_and_security() -> None:
    found = mirror(parse_list(ONE_LINE), {})
    assert found == Mirror(main="http://mirror.test/debian", security="http://mirror.test/security")


def test_stanzas_give_main_and_security_and_disabled_ones_count_not() -> None:
    sources = parse_deb822(STANZAS)
    assert sources[0] == Source(("https://mirror.test/debian",), ("trixie", "trixie-updates"), ("main",))
    assert len(sources) == 2
    assert mirror(sources, {}) == Mirror(main="https://mirror.test/debian", security="https://mirror.test/security")


@pytest.mark.parametrize("text", ["deb cdrom:[x]/ bookworm main", "deb file:/srv/debian bookworm main", "deb http://apt.test/tool stable-x main", ""])
def test_sources_without_a_debian_mirror_over_http_give_none(text: str) -> None:
    assert mirror(parse_list(text), {}) is None


def test_the_images_sources_hold_updates_and_security() -> None:
    text = Mirror(main="http://m.test/debian", security="http://m.test/security").sources("trixie")
    assert "Suites: trixie trixie-updates\n" in text
    assert "Suites: trixie-security\n" in text
    assert "security" not in Mirror(main="http://m.test/debian").sources("trixie")


def test_only_proxy_settings_are_taken_along() -> None:
    dump = 'APT::Architecture "amd64";\nAcquire::http::Proxy "http://proxy.test:3128";\nAcquire::https::Proxy "";\nAcquire::http::Proxy::m.test "DIRECT";\n'
    settings = proxy_settings(dump)
    assert settings == {"Acquire::http::Proxy": "http://proxy.test:3128", "Acquire::http::Proxy::m.test": "DIRECT"}
    assert 'Acquire::http::Proxy "http://proxy.test:3128";' in Mirror(main="x", settings=settings).apt_conf()


def test_wheels_are_asked_for_the_images_python() -> None:
    options = image_options("aarch64")
    assert options[options.index("--python-version") + 1] == "3.13"
    assert "manylinux_2_34_aarch64" in options
    assert count("# a comment\na==1\nb==2\n") == 2


def test_a_step_of_the_builder_is_shortened_and_settings_are_left_out() -> None:
    found = DOCKER_STEP.match("Step 3/16 : RUN export DEBIAN_FRONTEND=noninteractive  && apt-get update -q  && apt-get install -qy redis-server")
    assert found is not None
    assert docker_step(found) == "step 3/16 RUN apt-get update -q  && apt-get ins..."
    assert DOCKER_STEP.match("Step 4/16 : ENV PATH=/usr/bin") is None
