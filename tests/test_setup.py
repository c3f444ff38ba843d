"""`make setup` tells plainly what is wrong, and the next make goes on."""

import os
import subprocess
from pathlib import Path

from skinsyn.run import paths


def make(*words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["make", "--no-print-directory", *words], cwd=paths.project_root(), env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_make_alone_prints_help():
    done = make()
    assert done.returncode == 0 and "make paper" in done.stdout and "PROFILE=" in done.stdout


def test_a_python_that_is_missing_or_too_old(tmp_path: Path):
    done = make("setup", f"VENV={tmp_path}/venv", "PYTHON=python2.7")
    assert done.returncode != 0 and "missing or not of version 3.11" in done.stdout
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert "missing or not of version 3.11" in make("setup", f"VENV={tmp_path}/venv", f"PYTHON={old}").stdout


def test_no_room_on_the_disk(tmp_path: Path):
    done = make("setup", f"VENV={tmp_path}/venv", "FREE_GB=99999999")
    assert done.returncode != 0 and "GB are free here" in done.stdout and not (tmp_path / "venv").exists()


def test_a_failed_download_and_then_going_on(tmp_path: Path):
    done = make(
        "setup", f"VENV={tmp_path}/venv", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path), PIP_CONFIG_FILE=os.devnull
    )
    assert done.returncode != 0 and "a download failed" in done.stdout and "make again and it goes on" in done.stdout
    assert not list((tmp_path / "venv").glob(".ready-*")), "a failed set-up must not count as done"


def test_one_pinned_list():
    lines = (paths.project_root() / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in lines if line and not line.startswith("#"))
    assert "-r requirements.txt" in (paths.project_root() / "environment.yml").read_text()
