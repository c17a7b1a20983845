# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Redis: which texts mean the same."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.nexanest.database.plugins.module_utils import _redis_values as values


@pytest.mark.parametrize(
    ("name", "running", "wanted"),
    [
        ("maxmemory", "268435456", "256mb"),
        ("maxmemory", "268435456", "256MB"),
        ("maxmemory", "256000000", "256m"),
        ("maxmemory", "1073741824", "1gb"),
        ("maxmemory-clients", "5%", "5%"),
        ("maxmemory-policy", "allkeys-lru", "ALLKEYS-LRU"),
        ("appendonly", "yes", "YES"),
        ("notify-keyspace-events", "xE", "Ex"),
        ("notify-keyspace-events", "AKE", "KEA"),
        ("notify-keyspace-events", "AKE", "KEg$lshzxetd"),
        ("save", "3600 1 300 100", "300 100 3600 1"),
        ("save", "", ""),
        ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", "pubsub 32mb 8mb 60"),
        ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", "replica 256mb 64mb 60"),
        ("active-defrag-threshold-lower", "10", "10"),
        ("lfu-decay-time", "1", "1.0"),
        ("shutdown-on-sigterm", "save now", "now save"),
    ],
)
def test_two_texts_of_one_value_are_equal(name: str, running: str, wanted: str) -> None:
    assert values.equal(name, running, wanted)


@pytest.mark.parametrize(
    ("name", "running", "wanted"),
    [
        ("maxmemory", "268435456", "255mb"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("notify-keyspace-events", "xE", "xK"),
        ("notify-keyspace-events", "AKE", ""),
        ("save", "3600 1 300 100", "3600 1"),
        ("save", "3600 1", ""),
        ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", "pubsub 32mb 8mb 61"),
        ("client-output-buffer-limit", "normal 0 0 0", ""),
        ("masterauth", "secret", "SECRET"),
        ("masterauth", "1024", "1kb"),
        ("proc-title-template", "{title} {Mode}", "{title} {mode}"),
    ],
)
def test_different_values_are_not_equal(name: str, running: str, wanted: str) -> None:
    assert not values.equal(name, running, wanted)


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "yes"), (False, "no"), (16, "16"), (0.5, "0.5"), ("256mb", "256mb"), ([900, 1, 300, 10], "900 1 300 10"), (None, ""), (" x ", "x")],
)
def test_values_of_the_inventory_become_texts_for_redis(value: Any, text: str) -> None:
    assert values.text(value) == text


def test_passwords_among_the_settings_are_masked() -> None:
    assert values.shown("masterauth", "hunter2") == "********"
    assert values.shown("maxmemory", "1gb") == "1gb"
