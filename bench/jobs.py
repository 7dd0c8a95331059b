"""Jobs of `poz.bench.kernel_checks` in processes of their own: one that dies or hangs takes no other down with it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

FINDINGS = 86
"""Exit code asked of compute-sanitizer where it found something."""


class Check(NamedTuple):
    """One comparison.

    Attributes:
        name: What was run, and on what.
        error: Against float64, in the unit that the limit is meant in; 0 or 1 for a yes or no.
        limit: The most it may be.
        problem: What was raised, where something was.
    """

    name: str
    error: float
    limit: float
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether it is within the limit; NaN is not."""
        return not self.problem and self.error <= self.limit


def failed(name: str, problem: str) -> Check:
    """A check that gave no number."""
    return Check(name, float("nan"), 0.0, problem)


def run(
    jobs: Sequence[str],
    *,
    seconds: float,
    workers: int = 1,
    small: bool = False,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Check]:
    """The checks of some jobs, as they come; jobs that died or found no time are failed checks of their own.

    Args:
        jobs: Names, of `poz.bench.kernel_checks.jobs`; every worker takes each so-many-th of them.
        seconds: When what still runs is ended.
        workers: Processes at a time.
        small: Small sizes on a GPU too.
        prefix: Command and options to run the processes under.
        environment: Variables to set for them.
    """
    end = time.monotonic() + seconds
    found: queue.Queue[Check | None] = queue.Queue()
    shares = [list(jobs[start::workers]) for start in range(min(workers, len(jobs)))]

    def work(share: list[str]) -> None:
        try:
            while share:
                share = _process(share, end, small, prefix, environment or {}, found)
        except Exception as error:  # a thread's error would otherwise be lost with its jobs
            found.put(failed(f"jobs from {share[0]} on", f"{type(error).__name__}: {error}"))
        found.put(None)

    for share in shares:
        threading.Thread(target=work, args=(share,), daemon=True).start()
    for _ in shares:
        while (check := found.get()) is not None:
            yield check


def _process(
    share: list[str], end: float, small: bool, prefix: Sequence[str], environment: Mapping[str, str],
    found: queue.Queue[Check | None],
) -> list[str]:  # fmt: skip
    """Run one process over a share; give what is left for the next one where it died."""
    if time.monotonic() >= end:
        for job in share:
            found.put(failed(job, "not run: out of time"))
        return []
    command = [*prefix, sys.executable, "-W", "ignore", "-m", "poz.bench.kernel_checks", *["--small"] * small, *share]
    place, done, ready = 0, False, False
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile("w+"))
        process = stack.enter_context(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
                env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            )
        )  # fmt: skip
        overdue = threading.Event()

        def stop() -> None:
            overdue.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(max(end - time.monotonic(), 0), stop)
        timer.start()
        said = []
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                said.append(line.strip())
                continue
            told = json.loads(line)
            if "ready" in told:
                ready = True
            elif "done" in told:
                place = share.index(told["done"]) + 1
                done = place == len(share)
            else:
                found.put(Check(told["name"], told["error"], told["limit"], told["problem"]))
        code = process.wait()
        timer.cancel()
        errors.seek(0)
        said += errors.read().splitlines()
    if overdue.is_set():
        for job in share[place:]:
            found.put(failed(job, "ended: out of time"))
        return []
    if code == FINDINGS and prefix:
        # Its lines begin with "=" signs; the first says what, the second where.
        lines = [line.strip("= ") for line in said if line.startswith("=====")]
        about = [line for line in lines if line and not line.startswith("COMPUTE-SANITIZER")]
        found.put(Check(f"{share[0]} to {share[-1]}", 1.0, 0.0, " | ".join([*about[:3], *about[-1:]])))
    if done:
        return []
    last = next((line for line in reversed(said) if line.strip()), "")
    problem = f"the process ended with exit code {code}: {last[:200]}"
    if not ready:  # so would the next one
        for job in share:
            found.put(failed(job, problem))
        return []
    found.put(failed(share[place], problem))
    return share[place + 1 :]
