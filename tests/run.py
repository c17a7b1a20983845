"""Runs the parts of the tests, and ends with a table and `N passed, N failed`.

Usage: python tests/run.py PART... [--scenario NAME]
Parts: lint unit stack integration molecule long bench. `stack` deploys the stack of the integration tests in the background (its images are built
meanwhile), beside lint and unit; integration and molecule wait for it and run side by side. Logs are in .cache/tests/logs/; exit code 1 when anything failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
LOGS = ROOT / ".cache" / "tests" / "logs"
PYTHON = str(BIN / "python")
# Integration and molecule need the images: the stack's deployment has built them.
NEEDS_STACK = ("integration", "molecule", "bench")
# What they show is also shown by tests/integration, whose stack is checked, deployed and converged again on what CI has, a bare machine; `services` is
# all of the roles' scenarios in one run. CI runs the smallest, redis, so that the scenarios themselves are known to work. Nothing else shows what
# bare_host and remote_host do.
LONG_SCENARIOS = ("bare_host", "data_model", "default", "docker", "images", "pgadmin", "postgres", "receiver", "remote_host", "services", "timescaledb")
# A test waits for containers a third of its time: one process more than there are cores keeps them busy.
WORKERS = (os.cpu_count() or 1) + 1
PARALLEL = (f"--numprocesses={WORKERS}", "--no-loadscope-reorder")
ENDED = threading.Event()


@dataclass(frozen=True)
class Check:
    """One command; what it is called; after how many seconds it is given up; whether its output is shown as it comes."""

    name: str
    argv: tuple[str, ...]
    timeout: int = 300
    live: bool = False
    junit: bool = False
    # A success that says this is none.
    forbidden: str = ""


@dataclass
class Outcome:
    """What one part ended with."""

    part: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0


def tool(name: str, *argv: str) -> tuple[str, ...]:
    """A program of the virtual environment."""
    return (str(BIN / name), *argv)


def lint_checks() -> list[Check]:
    """Cheapest first."""
    return [
        Check("names of hosts and paths", (PYTHON, "tests/hygiene.py")),
        Check("ruff", tool("ruff", "check")),
        Check("ruff format", tool("ruff", "format", "--check")),
        Check("yamllint", tool("yamllint", "--strict", ".")),
        Check("changelog", tool("antsibull-changelog", "lint")),
        Check("shell scripts", (PYTHON, "tests/shell_scripts.py")),
        Check("mypy", tool("mypy", "--package", "ansible_collections.nexanest.database.plugins")),
        Check("documentation of plugins and roles", (PYTHON, "tests/plugin_docs.py")),
        Check("tables in the roles' READMEs", (PYTHON, "scripts/role_readmes.py", "--check")),
        Check("collection build", tool("ansible-galaxy", "collection", "build", "--force", "--output-path", ".cache/build")),
        Check("ansible-lint", tool("ansible-lint"), timeout=600),
        Check("ansible-test sanity", ("tests/sanity",), timeout=900),
    ]


def pytest_check(name: str, *argv: str, timeout: int) -> Check:
    """One pytest run that leaves its counts in a file."""
    return Check(name, tool("pytest", f"--junitxml={LOGS / f'{name}.xml'}", *argv), timeout=timeout, live=True, junit=True)


def molecule_checks(wanted: list[str]) -> list[Check]:
    """One per scenario."""
    names = wanted or sorted({path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")} - set(LONG_SCENARIOS))
    return [Check(name, tool("molecule", "test", "--scenario-name", name), timeout=3600, forbidden="Missing playbook") for name in names]


def checks(part: str, scenarios: list[str]) -> list[Check]:
    """The commands of a part."""
    bench = str(ROOT / ".cache" / "tests" / "nexabench" / "inventory" / "hosts.yml")
    parts = {
        "lint": lint_checks(),
        "unit": [pytest_check("unit", "tests/unit", "--quiet", timeout=300)],
        "stack": [Check("deploy the test stack", (PYTHON, "tests/integration/deploy.py"), timeout=1800)],
        "integration": [pytest_check("integration", "tests/integration", "--durations=40", *PARALLEL, timeout=4800)],
        "molecule": molecule_checks(scenarios),
        "long": [pytest_check("long", "tests", "-m", "long", timeout=14400), *molecule_checks(list(LONG_SCENARIOS))],
        "bench": [
            Check("an inventory for it", (PYTHON, "tests/integration/deploy.py", "--inventory", "nexabench")),
            Check("bench", (PYTHON, "tests/benchmarks/bench.py", bench, "nexabench"), timeout=3600, live=True),
        ],
    }
    return parts[part]


class Running:
    """One check that was started; `finish` waits for it."""

    def __init__(self, part: str, check: Check) -> None:
        self.check = check
        self.log = LOGS / f"{part}-{check.name.replace(' ', '_')}.log"
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                check.argv,
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=None if check.live else log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self) -> tuple[int, float]:
        """Exit code and seconds; a check that takes too long is ended with all its children."""
        try:
            code = self.process.wait(timeout=max(1.0, self.check.timeout - (time.monotonic() - self.began)))
        except subprocess.TimeoutExpired:
            self.stop()
            say(f"   {self.check.name}: given up after {self.check.timeout} s")
            code = 124
        if code == 0 and self.check.forbidden and self.check.forbidden in self.log.read_text(encoding="utf-8", errors="replace"):
            say(f"   {self.check.name}: it left something out ({self.check.forbidden})")
            code = 1
        return code, time.monotonic() - self.began

    def stop(self) -> None:
        """End it and its children: first asking (a test then removes what it made), after half a minute by force."""
        for number, wait in ((signal.SIGINT, 30), (signal.SIGKILL, 10)):
            if self.process.poll() is not None:
                return
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(timeout=wait)
            except subprocess.TimeoutExpired:
                continue

    def tail(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-60:])


def environment() -> dict[str, str]:
    """Tools of the virtual environment first, no colours, the deployed stack used by the tests."""
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", "MOLECULE_COMMAND_BORDERS": "false"}


def say(text: str) -> None:
    """A line that is seen at once, also through a pipe."""
    print(text, flush=True)


def account(outcome: Outcome, running: Running) -> None:
    """Wait for one check and add what came of it to its part."""
    code, seconds = running.finish()
    outcome.seconds += seconds
    check = running.check
    if check.junit:
        count_tests(outcome, LOGS / f"{check.name}.xml", code)
    elif code == 0:
        outcome.passed += 1
    else:
        outcome.failed.append(check.name)
    say(f"   {'ok    ' if code == 0 else 'FAILED'} {check.name} ({seconds:.0f} s)")
    if code != 0 and not check.live:
        say(f"{running.tail()}\n   the whole output: {running.log.relative_to(ROOT)}")


def count_tests(outcome: Outcome, report: Path, code: int) -> None:
    """Add pytest's own counts; without a report (it died) the whole run is one failure."""
    if not report.exists():
        outcome.failed.append(f"pytest ended with {code} and no report")
        return
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  (pytest's own file)
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed.append(name)
        elif case.find("skipped") is not None:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    if code != 0 and not outcome.failed:
        outcome.failed.append(f"pytest ended with {code}")


def run(parts: list[str], scenarios: list[str]) -> list[Outcome]:
    """All parts: the stack's deployment beside lint and unit, then what needs its images side by side (they often wait for containers)."""
    outcomes: list[Outcome] = []
    background: list[tuple[Outcome, Running]] = []
    current: list[Running] = []
    try:
        if "stack" in parts:
            say("== stack (in the background)")
            deployment = Running("stack", checks("stack", [])[0])
            background.append((Outcome("stack"), deployment))
            current.append(deployment)
            os.environ["REUSE_STACK"] = "1"
        outcomes += [run_part(part, scenarios, current) for part in parts if part not in ("stack", *NEEDS_STACK)]
        outcomes += settle(background)
        outcomes += side_by_side([part for part in parts if part in NEEDS_STACK], scenarios, current)
    finally:
        stop_all(current)
    return outcomes


def stop_all(current: list[Running]) -> None:
    """End what runs, and start nothing more."""
    ENDED.set()
    for running in current:
        running.stop()


def run_part(part: str, scenarios: list[str], current: list[Running]) -> Outcome:
    """The checks of one part, one after the other."""
    say(f"== {part}")
    outcome = Outcome(part)
    for check in checks(part, scenarios):
        if ENDED.is_set():
            break
        (LOGS / f"{check.name}.xml").unlink(missing_ok=True)
        running = Running(part, check)
        current.append(running)
        account(outcome, running)
    return outcome


def side_by_side(parts: list[str], scenarios: list[str], current: list[Running]) -> list[Outcome]:
    """Parts at the same time; an interruption ends what they run."""
    with ThreadPoolExecutor(max_workers=len(parts) or 1) as lanes:
        futures = [lanes.submit(run_part, part, scenarios, current) for part in parts]
        try:
            return [future.result() for future in futures]
        except BaseException:
            # The lanes' end is waited for on the way out: it must come.
            stop_all(current)
            raise


def settle(background: list[tuple[Outcome, Running]]) -> list[Outcome]:
    """Wait for what runs in the background."""
    done = []
    while background:
        outcome, running = background.pop()
        account(outcome, running)
        done.append(outcome)
    return done


def left_to_long() -> str:
    """What make test-long would run."""
    collected = subprocess.run(
        tool("pytest", "tests", "-m", "long", "--collect-only", "--quiet"),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    names = Counter(line.rpartition("::")[2].partition("[")[0] for line in collected.stdout.splitlines() if "::" in line)
    listed = ", ".join(name if count == 1 else f"{name} ({count} cases)" for name, count in names.items())
    return f"{names.total()} tests ({listed}) and molecule's scenarios {', '.join(LONG_SCENARIOS)}"


def summary(outcomes: list[Outcome], started: float) -> bool:
    """Print the table; whether all passed."""
    say("\npart         passed  failed  skipped  seconds")
    for outcome in outcomes:
        say(f"{outcome.part:<12} {outcome.passed:>6}  {len(outcome.failed):>6}  {outcome.skipped:>7}  {outcome.seconds:>7.0f}")
    for outcome in outcomes:
        for name in outcome.failed:
            say(f"FAILED {outcome.part}: {name}")
    passed, failed, skipped = sum(o.passed for o in outcomes), sum(len(o.failed) for o in outcomes), sum(o.skipped for o in outcomes)
    if not any(outcome.part == "long" for outcome in outcomes):
        say(f"left to make test-long: {left_to_long()}")
    say(f"{passed} passed, {failed} failed, {skipped} skipped in {time.time() - started:.0f} s")
    return failed == 0 and passed > 0


def remove_stack() -> None:
    """What an interrupted run may have left."""
    if os.environ.get("KEEP_STACK", "") != "1":
        subprocess.run([PYTHON, "tests/integration/deploy.py", "--destroy"], cwd=ROOT, env=environment(), check=False, timeout=300)


def main() -> int:
    """Exit code 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["lint", "unit", "stack", "integration", "molecule", "long", "bench"])
    parser.add_argument("--scenario", action="append", default=[], help="only this molecule scenario; may be given again")
    arguments = parser.parse_args()
    started = float(os.environ.get("TEST_STARTED", time.time()))
    LOGS.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_arguments: sys.exit(143))
    try:
        good = summary(run(arguments.parts, arguments.scenario), started)
    finally:
        if set(arguments.parts) & {"stack", "integration", "long", "bench"}:
            remove_stack()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
