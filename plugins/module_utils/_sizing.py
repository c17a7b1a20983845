# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory each server gets, and PostgreSQL settings that stay inside it: published rules, and a sum that is checked.

Sources
  [pg]    PostgreSQL's manual, chapters "Resource Consumption", "Write Ahead Log" and "Managing Kernel Resources"
  [tune]  timescaledb-tune, pkg/pgtune/{memory,parallel,wal,misc}.go
  [pgt]   pgtune (pgtune.leopard.in.ua), its defaults for "mixed" use
  [own]   measured with PostgreSQL 17 in a container: an idle session holds 1.4 MB of its own, one that used 200 tables 12 MB

The worst case that must fit into the container's memory:
  shared_buffers + wal_buffers + the server's own processes + 4 MB for each session and worker
  + maintenance_work_mem once + autovacuum_work_mem for each autovacuum worker
  + work_mem * hash_mem_multiplier for each session and each parallel worker (one hash or sort in each at the same time)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MINIMUM_STACK_MB = 1200
MINIMUM_SERVER_MB = 350
SESSION_MB = 4  # [own]
PROCESSES_MB = 32  # [own] postmaster, checkpointer, writers, launchers
HASH_MULTIPLIER = 2  # [pg] its default since 15; written out because the sum depends on it
WORK_MEM_STEP_KB = 256
MINIMUM_WORK_MEM_KB = 1024
CRON_JOBS = 3  # cron.max_running_jobs, which the role postgres sets
EXTRA_WORKERS = 3 + CRON_JOBS  # the launchers of logical replication, of pg_cron and of TimescaleDB; scheduled jobs

REDIS = ("redis", "redis-sessions")
SERVERS = ("postgres", "timescaledb")
SERVICES = (*SERVERS, *REDIS, "pgadmin")
PGADMIN_MB = 384  # [own] 145 MiB idle, about twice that with a large result on the screen
PGADMIN_SMALL_MB = 288
WEIGHTS: Mapping[str, int] = {"postgres": 40, "timescaledb": 40, "redis": 15, "redis-sessions": 5}
MINIMUM_REDIS_MB = 96


class BudgetTooSmall(ValueError):
    """The memory does not carry what is asked; the text says what would."""


@dataclass(frozen=True)
class _Server:
    """The numbers behind the settings; megabytes unless said."""

    memory: int
    cpus: int
    connections: int
    timescaledb: bool

    @property
    def shared_buffers(self) -> int:
        return self.memory // 4  # [pg] "a reasonable starting value is 25 % of the memory"; [tune] the same

    @property
    def wal_buffers(self) -> int:
        return min(16, max(1, self.shared_buffers // 32))  # [pg] what -1 computes

    @property
    def maintenance(self) -> int:
        return min(2048, max(16, self.memory // 16))  # [pgt] 1/16; [tune] and [pgt] at most 2 GB

    @property
    def autovacuum_workers(self) -> int:
        if self.memory < 8192:
            return 3  # [pg] its default
        return 10 if self.timescaledb else 5  # [tune] 10: every chunk is a table to vacuum

    @property
    def autovacuum_memory(self) -> int:
        # [own] all workers together get as much as one maintenance command, 8 MB each at least
        return max(8, self.maintenance // self.autovacuum_workers)

    @property
    def background_workers(self) -> int:
        if not self.timescaledb:
            return 0
        if self.memory >= 4096:
            return 16  # [tune]
        return 8 if self.memory >= 1024 else 4  # [own] each takes the memory of a session

    @property
    def parallel_workers(self) -> int:
        return min(self.cpus, max(1, self.memory // 128))  # [tune], [pgt] all cpus; [own] each may take a work_mem

    @property
    def worker_processes(self) -> int:
        return EXTRA_WORKERS + self.background_workers + self.parallel_workers  # [tune] 3 + background workers + cpus

    @property
    def fixed(self) -> int:
        """What is taken before the first byte of work_mem."""
        sessions = self.connections + self.worker_processes + self.autovacuum_workers
        vacuum = self.autovacuum_memory * self.autovacuum_workers
        return self.shared_buffers + self.wal_buffers + PROCESSES_MB + SESSION_MB * sessions + self.maintenance + vacuum

    @property
    def work_mem_kb(self) -> int:
        """What [tune] gives, but no more than the sum leaves."""
        per_connection = 400 * 1024 / self.connections / max(1, self.cpus / 2)
        tuned = self.memory / 1024 * per_connection
        left = (self.memory - self.fixed) * 1024 / (HASH_MULTIPLIER * (self.connections + self.parallel_workers))
        return int(min(tuned, left)) // WORK_MEM_STEP_KB * WORK_MEM_STEP_KB

    @property
    def worst_case(self) -> float:
        return self.fixed + HASH_MULTIPLIER * (self.connections + self.parallel_workers) * self.work_mem_kb / 1024


def connections_for(memory_mb: int) -> int:
    """max_connections where nobody says: one for each 20 MB, between 20 and 200, in tens. [own]"""
    return min(200, max(20, memory_mb // 20 // 10 * 10))


def postgres_settings(memory_mb: int, *, cpus: int, connections: int | None = None, timescaledb: bool = False) -> dict[str, str]:
    """Settings of one server in a container with `memory_mb`; BudgetTooSmall where the worst case does not fit."""
    server = _server(memory_mb, cpus=cpus, connections=connections, timescaledb=timescaledb)
    gathered = max(1, min(4, server.parallel_workers // 2))  # [tune] half of the cpus; [pgt] at most 4
    settings = {
        "max_connections": str(server.connections),
        "shared_buffers": f"{server.shared_buffers}MB",
        "effective_cache_size": f"{server.memory * 3 // 4}MB",  # [pg], [tune], [pgt] 3/4
        "work_mem": f"{server.work_mem_kb}kB",
        "hash_mem_multiplier": str(HASH_MULTIPLIER),
        "maintenance_work_mem": f"{server.maintenance}MB",
        "autovacuum_work_mem": f"{server.autovacuum_memory}MB",
        "autovacuum_max_workers": str(server.autovacuum_workers),
        "autovacuum_naptime": "10s" if timescaledb else "1min",  # [tune] 10 s; [pg] its default
        "wal_buffers": f"{server.wal_buffers}MB",
        "min_wal_size": "512MB",  # [tune]
        "max_wal_size": "1GB" if memory_mb < 8192 else "4GB",  # [tune] 1 GB; [pgt] 4 GB
        "max_worker_processes": str(server.worker_processes),
        "max_parallel_workers": str(server.parallel_workers),
        "max_parallel_workers_per_gather": str(gathered),
        "max_parallel_maintenance_workers": str(gathered),
        "max_locks_per_transaction": str(_locks(memory_mb) if timescaledb else 64),  # [pg] 64 is its default
    }
    if timescaledb:
        settings["timescaledb.max_background_workers"] = str(server.background_workers)
    return settings


def worst_case_mb(memory_mb: int, *, cpus: int, connections: int | None = None, timescaledb: bool = False) -> float:
    """The sum that must fit, with the settings that postgres_settings gives."""
    return _server(memory_mb, cpus=cpus, connections=connections, timescaledb=timescaledb).worst_case


def stack_memory(total_mb: int, services: Sequence[str]) -> dict[str, int]:
    """The budget divided: a fixed part for pgAdmin, the rest by weight; the sum never exceeds `total_mb`."""
    unknown = sorted(set(services) - set(SERVICES))
    if unknown:
        raise ValueError(f"unknown service {', '.join(unknown)}: the services are {', '.join(SERVICES)}")
    if total_mb < MINIMUM_STACK_MB and set(SERVERS) & set(services):
        raise BudgetTooSmall(f"the stack has {total_mb} MB of memory but needs at least {MINIMUM_STACK_MB}: raise stack_memory_mb, or take a larger host")
    shares: dict[str, int] = {}
    if "pgadmin" in services:
        shares["pgadmin"] = PGADMIN_SMALL_MB if total_mb < 3072 else PGADMIN_MB
    rest = total_mb - sum(shares.values())
    weighed = [service for service in SERVICES if service in services and service in WEIGHTS]
    weights = sum(WEIGHTS[service] for service in weighed)
    for service in (service for service in weighed if service in REDIS):
        shares[service] = max(MINIMUM_REDIS_MB, rest * WEIGHTS[service] // weights)
    servers = [service for service in weighed if service in SERVERS]
    for service in servers:
        shares[service] = (total_mb - sum(shares[name] for name in shares if name not in SERVERS)) // len(servers)
    return {service: shares[service] for service in SERVICES if service in shares}


def stack_limits(total_mb: int, services: Sequence[str], *, cpus: int, connections: Mapping[str, int] | None = None) -> dict[str, dict[str, int]]:
    """memory_mb, shm_mb and pids_limit of every container; connections: max_connections by server, where it is not the computed one (0 or absent)."""
    asked = connections or {}
    limits: dict[str, dict[str, int]] = {}
    for service, memory in stack_memory(total_mb, services).items():
        if service in SERVERS:
            server = _server(memory, cpus=cpus, connections=asked.get(service), timescaledb=service == "timescaledb")
            limits[service] = {"memory_mb": memory, "shm_mb": _shared_memory(server), "pids_limit": _processes(server)}
        else:
            # threads count as processes: Redis has its io threads and two children, pgAdmin a thread for each request
            limits[service] = {"memory_mb": memory, "shm_mb": 64, "pids_limit": 200 if service == "pgadmin" else 100}
    return limits


def _server(memory_mb: int, *, cpus: int, connections: int | None, timescaledb: bool) -> _Server:
    if memory_mb < MINIMUM_SERVER_MB:
        raise BudgetTooSmall(f"a PostgreSQL server has {memory_mb} MB of memory but needs at least {MINIMUM_SERVER_MB}: raise stack_memory_mb")
    if cpus < 1 or (connections or 0) < 0:
        raise ValueError("cpus is at least 1, and connections at least 0 (0: computed)")
    server = _Server(memory_mb, cpus, connections or connections_for(memory_mb), timescaledb)
    if server.work_mem_kb < MINIMUM_WORK_MEM_KB:
        raise BudgetTooSmall(
            f"{server.connections} connections do not fit into {memory_mb} MB: with the least work_mem of 1 MB the worst case is "
            f"{_least(server)} MB; lower max_connections (a pooler helps) or give the server more memory"
        )
    return server


def _least(server: _Server) -> int:
    return server.fixed + HASH_MULTIPLIER * (server.connections + server.parallel_workers) * MINIMUM_WORK_MEM_KB // 1024


def _locks(memory_mb: int) -> int:
    """[tune] a query over a hypertable locks every chunk."""
    for limit_gb, locks in ((8, 128), (16, 256), (32, 512)):
        if memory_mb < limit_gb * 1024:
            return locks
    return 1024


def _shared_memory(server: _Server) -> int:
    """It holds the hash tables that parallel workers share: Docker's 64 MB end in "could not resize shared memory segment"."""
    return max(64, server.memory // 4)


def _processes(server: _Server) -> int:
    """Every process the settings allow, the server's own (10), WAL senders (10), health checks and clients inside (30); in fifties."""
    processes = server.connections + server.worker_processes + server.autovacuum_workers + 50
    return -(-processes // 50) * 50
