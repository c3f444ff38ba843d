"""Killed at any moment, the next run goes on where it was, and the final tables are the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skinsyn.run import files, paths

COMMAND = [sys.executable, "-m", "skinsyn", "run", "--profile", "smoke"]


def start(place: Path) -> subprocess.Popen:
    environment = {**os.environ, "SKINSYN_RUNS": str(place / "runs"), "SKINSYN_FIGURES": str(place / "figures")}
    log = (place / "log.txt").open("a")
    return subprocess.Popen(
        COMMAND, cwd=paths.project_root(), env=environment, stdout=log, stderr=log, start_new_session=True
    )


def results(place: Path) -> dict[str, str]:
    """Digests of all tables and figures of a finished run."""
    found = [p for folder in ("runs/smoke/tables", "figures") for p in (place / folder).rglob("*") if p.is_file()]
    return {str(p.relative_to(place)): files.digest_file(p) for p in found}


@pytest.mark.slow
def test_three_kills_change_no_byte(tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    begun = time.monotonic()
    assert start(whole).wait() == 0, (whole / "log.txt").read_text()[-3000:]
    seconds = time.monotonic() - begun
    # The moments are random on purpose; they are printed so that a failure can be told.
    moments = [random.uniform(0.1, 0.45) * seconds for _ in range(3)]
    print("killed after", [round(moment, 1) for moment in moments], "seconds")
    for moment in moments:
        process = start(killed)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert start(killed).wait() == 0, (killed / "log.txt").read_text()[-3000:]
    assert results(killed) == results(whole)
    assert len(results(whole)) > 10
