"""The store keeps a unit whole or not at all, makes it once, and sees damage."""

import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import pytest

from skinsyn.run import paths, store

KEY = store.key_of("thing", 1, {"a": 1, "b": [2.5, "x"]}, {"table": "00"}, threads=1)


def make(folder: Path) -> dict:
    (folder / "sub").mkdir()
    (folder / "sub/data.bin").write_bytes(b"content")
    return {"made": True}


def test_key_depends_on_all_that_decides_the_bytes_and_not_on_order():
    assert store.key_of("thing", 1, {"b": [2.5, "x"], "a": 1}, {"table": "00"}, threads=1) == KEY
    others = [
        store.key_of("other", 1, {"a": 1, "b": [2.5, "x"]}, {"table": "00"}, 1),
        store.key_of("thing", 2, {"a": 1, "b": [2.5, "x"]}, {"table": "00"}, 1),
        store.key_of("thing", 1, {"a": 2, "b": [2.5, "x"]}, {"table": "00"}, 1),
        store.key_of("thing", 1, {"a": 1, "b": [2.5, "x"]}, {"table": "01"}, 1),
        store.key_of("thing", 1, {"a": 1, "b": [2.5, "x"]}, {"table": "00"}, 2),
    ]
    assert len({KEY, *others}) == 6


def test_a_unit_is_made_once_and_its_manifest_names_its_files():
    calls = []
    for _ in range(2):
        folder = store.keep("thing", KEY, lambda place: calls.append(place) or make(place), about={"why": "test"})
    assert len(calls) == 1
    assert (folder / "sub/data.bin").read_bytes() == b"content"
    manifest = store.manifest("thing", KEY)
    assert manifest["files"]["sub/data.bin"]["bytes"] == 7
    assert manifest["result"] == {"made": True} and manifest["about"] == {"why": "test"}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "sub/data.bin").write_bytes(b"contenT"), "does not have the bytes"),
        (lambda f: (f / "sub/data.bin").write_bytes(b"con"), "does not have the bytes"),
        (lambda f: (f / "sub/data.bin").unlink(), "is missing"),
        (lambda f: (f / "manifest.json").unlink(), "no manifest"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json is damaged"),
    ],
    ids=["a flipped bit", "truncated", "a file gone", "the manifest gone", "the manifest damaged"],
)
def test_a_damaged_unit_is_seen_set_aside_and_made_again(damage, told, capsys):
    folder = store.keep("thing", KEY, make)
    damage(folder)
    assert store.keep("thing", KEY, make) == folder
    assert (folder / "sub/data.bin").read_bytes() == b"content"
    assert store.faults("thing", KEY) == []
    assert told in capsys.readouterr().out
    assert folder.with_name(f"{KEY}.damaged-0").exists(), "the user's damaged unit was deleted"


def test_a_maker_that_fails_leaves_nothing():
    def fails(folder: Path) -> None:
        make(folder)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        store.keep("thing", KEY, fails)
    assert list(store.unit_dir("thing", KEY).parent.iterdir()) == []


def _slow(ready: str) -> None:
    def make_slowly(folder: Path) -> None:
        make(folder)
        Path(ready).touch()
        time.sleep(60)

    store.keep("thing", KEY, make_slowly)


def test_killed_in_the_middle_the_unit_is_absent_and_then_made(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_slow, args=(str(tmp_path / "ready"),))
    process.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not store.unit_dir("thing", KEY).exists()
    assert (store.keep("thing", KEY, make) / "sub/data.bin").read_bytes() == b"content"


def test_what_was_not_made_is_said():
    with pytest.raises(FileNotFoundError, match="not in the store"):
        store.manifest("thing", "absent")
    with pytest.raises(FileNotFoundError, match=r"(?s)not in the store.*made by notebooks/02_dreambooth.ipynb"):
        store.manifest("generator", "absent")


def test_the_notebooks_that_make_units_exist():
    for words in store.MADE_BY.values():
        for name in re.findall(r"notebooks/\w+\.ipynb", words):
            assert (paths.project_root() / name).exists()
    code = "".join(path.read_text() for path in (paths.project_root() / "skinsyn").rglob("*.py"))
    assert set(store.MADE_BY) <= set(re.findall(r'store\.keep\(\s*"(\w+)"', code)), "a kind that nothing makes any more"
