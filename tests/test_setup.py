"""`make setup` tells plainly what is wrong, and the next make goes on."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

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


@pytest.mark.parametrize("others", [[], ["0.9"]])
def test_a_pin_that_no_version_fits_is_told_from_a_failed_download(tmp_path: Path, others: list[str]):
    """An index that answers, and whose pinned version is for another Python; `others` are versions that do fit."""
    (tmp_path / "requirements.txt").write_text("later==1.0\n")
    (tmp_path / "pyproject.toml").write_text("")
    links = ['<a href="later-1.0-py3-none-any.whl" data-requires-python="&gt;=99">later-1.0-py3-none-any.whl</a>']
    links += [f'<a href="later-{one}-py3-none-any.whl">later-{one}-py3-none-any.whl</a>' for one in others]
    (tmp_path / "index.html").write_text("<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>")
    done = subprocess.run(
        [
            "make",
            "--no-print-directory",
            "-f",
            str(paths.project_root() / "Makefile"),
            "setup",
            f"VENV={tmp_path}/venv",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(tmp_path / "index.html"),
            "PIP_CONFIG_FILE": os.devnull,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and "No matching distribution found for later==1.0" in done.stdout, "pip's own words"
    assert f"no version of later==1.0 fits this Python ({platform.python_version()})" in done.stdout
    assert "the pins in requirements.txt are at fault" in done.stdout and "a download failed" not in done.stdout
    assert not list((tmp_path / "venv").glob(".ready-*"))


def test_an_index_that_does_not_answer_is_a_failed_download(tmp_path: Path):
    done = make(
        "setup",
        f"VENV={tmp_path}/venv",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="1",
        PIP_CONFIG_FILE=os.devnull,
    )
    assert done.returncode != 0 and "a download failed" in done.stdout and "the pins" not in done.stdout


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0", "3.13.0"])
def test_the_pins_fit_every_promised_python(python: str):
    """What is installed as pinned says which Python it asks for (soupsieve 4.1.2: 3.11.5; Debian 12 has 3.11.2)."""
    checked = 0
    for line in (paths.project_root() / "requirements.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        try:
            about = metadata.metadata(name) if version else None
        except metadata.PackageNotFoundError:
            about = None
        if about is not None and about["Version"] == version:
            assert SpecifierSet(about["Requires-Python"] or "").contains(python), (
                f"{line} needs {about['Requires-Python']}"
            )
            checked += 1
    assert checked > 100


def test_one_pinned_list():
    lines = (paths.project_root() / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in lines if line and not line.startswith("#"))
    assert "-r requirements.txt" in (paths.project_root() / "environment.yml").read_text()
