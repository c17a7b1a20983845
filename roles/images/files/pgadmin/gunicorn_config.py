# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How gunicorn serves pgAdmin; the address comes from the entry point."""

from __future__ import annotations

import os
from typing import Any

from gunicorn.glogging import Logger


class WithoutHealthChecks(Logger):
    """Writes no line for the health check: one every five seconds would bury what people do."""

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        if environ.get("PATH_INFO") != "/misc/ping":
            super().access(resp, req, environ, request_time)


# pgAdmin keeps sessions and connections in the process: one worker, many threads.
workers = 1
threads = int(os.environ.get("GUNICORN_THREADS", "25"))
timeout = 86400
logger_class = WithoutHealthChecks
accesslog = os.environ.get("GUNICORN_ACCESS_LOGFILE", "-")
errorlog = "-"
