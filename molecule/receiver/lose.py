# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a row a transaction, and remove server, volume and received log at a random moment: what the loss of a host leaves where a bucket has the repository.

Usage: python lose.py PORT RECEIVED <password     prints {"cluster": its system identifier, "acknowledged": rows}
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
import threading

import psycopg2

CONTAINER = "molreceiver-timescaledb"


def main() -> int:
    port, received = sys.argv[1:]
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="timescale", password=sys.stdin.readline().strip(), dbname="postgres")
    connection.autocommit = True
    acknowledged = 0
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        cluster = cursor.fetchone()[0]
        cursor.execute("CREATE TABLE acknowledged (id int PRIMARY KEY)")
        killer = threading.Timer(random.uniform(3, 8), kill)  # noqa: S311  no secret
        killer.start()
        with contextlib.suppress(psycopg2.Error):
            while True:
                cursor.execute("INSERT INTO acknowledged VALUES (%s)", (acknowledged + 1,))
                acknowledged += 1
    killer.join()
    for argv in (["rm", "--force", CONTAINER, f"{CONTAINER}-receiver"], ["volume", "rm", f"{CONTAINER}-data"]):
        subprocess.run(["docker", *argv], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(received)
    sys.stdout.write(json.dumps({"cluster": cluster, "acknowledged": acknowledged}))
    return 0


def kill() -> None:
    subprocess.run(["docker", "kill", CONTAINER], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
