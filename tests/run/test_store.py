"""The store keeps a unit whole or not at all, makes it once, and sees damage."""

import hashlib
import json
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import pytest

from skinsyn.run import files, paths, store

KEY = store.key_of("thing", 1, {"a": 1, "b": [2.5, "x"]}, {"table": "00"}, threads=1)


def make(folder: Path) -> dict:
    (folder / "sub").mkdir()
    (folder / "sub/data.bin").write_bytes(b"content")
    return {"made": True}


EMPTY = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}


def edit(folder: Path, **changes) -> None:
    """Change fields of a manifest by hand."""
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def reseal(folder: Path, **changes) -> None:
    """Change fields of a manifest and the digest that it holds of itself."""
    edit(folder, **changes)
    edit(folder, digest=store._seal(json.loads((folder / "manifest.json").read_text())))


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
        (lambda f: edit(f, files={}), "it lists no files"),
        (lambda f: edit(f, files=["sub/data.bin"]), "it lists no files"),
        (lambda f: edit(f, result={"made": False}), "does not have the digest that it holds"),
        (lambda f: edit(f, about={"why": "another"}), "does not have the digest that it holds"),
        (lambda f: reseal(f, key="0" * 24), f"that of another unit, thing/{'0' * 24}"),
        (lambda f: reseal(f, kind="other"), f"that of another unit, other/{KEY}"),
        (lambda f: reseal(f, files={"other.bin": (f / "other.bin").write_bytes(b"") or EMPTY}), "sub/data.bin is not"),
        (lambda f: (f / "sub/more.bin").write_bytes(b"more"), "sub/more.bin is not listed"),
        (lambda f: (f / "manifest.json").write_text("[]"), "manifest.json is damaged"),
    ],
    ids=[
        "a flipped bit",
        "truncated",
        "a file gone",
        "the manifest gone",
        "the manifest damaged",
        "no files",
        "a list of files",
        "an edited result",
        "an edited about",
        "another key",
        "another kind",
        "half of the listing",
        "a file more",
        "not a mapping",
    ],
)
def test_a_damaged_unit_is_seen_set_aside_and_made_again(damage, told, capsys):
    folder = store.keep("thing", KEY, make)
    assert store.folder("thing", KEY) == folder
    damage(folder)
    with pytest.raises(ValueError, match=re.escape(told)):
        store.folder("thing", KEY)
    assert store.keep("thing", KEY, make) == folder
    assert (folder / "sub/data.bin").read_bytes() == b"content"
    assert store.faults("thing", KEY) == []
    assert told in capsys.readouterr().out
    assert folder.with_name(f"{KEY}.damaged-0").exists(), "the user's damaged unit was deleted"


def test_two_swapped_units_are_seen_and_made_again(capsys):
    other = store.key_of("thing", 1, {"a": 2}, {}, threads=1)
    one, two = store.keep("thing", KEY, make), store.keep("thing", other, make)
    one.rename(one.with_name("aside"))
    two.rename(one)
    one.with_name("aside").rename(two)
    for key in (KEY, other):
        with pytest.raises(ValueError, match="that of another unit"):
            store.folder("thing", key)
        with pytest.raises(ValueError, match="that of another unit"):
            store.manifest("thing", key)
        store.keep("thing", key, make)
        assert store.manifest("thing", key)["key"] == key and store.folder("thing", key)
    assert capsys.readouterr().out.count("set aside as") == 2


def test_a_unit_is_hashed_once_per_process_and_again_when_its_files_change(monkeypatch):
    folder, hashed, digest_file = store.keep("thing", KEY, make), [], files.digest_file
    monkeypatch.setattr(files, "digest_file", lambda path: hashed.append(path.name) or digest_file(path))
    for _ in range(3):
        assert store.folder("thing", KEY) == folder and not store.missing("thing", KEY)
    assert hashed == ["data.bin"]
    (folder / ".DS_Store").write_bytes(b"of a file manager")
    assert store.folder("thing", KEY) == folder
    (folder / "sub/data.bin").write_bytes(b"contenT")
    with pytest.raises(ValueError, match="does not have the bytes"):
        store.folder("thing", KEY)


def test_content_follows_the_bytes_and_nothing_else():
    other = store.key_of("thing", 1, {"a": 2}, {}, threads=1)
    store.keep("thing", KEY, make)
    store.keep("thing", other, make, about={"why": "of other parameters"})
    assert store.content("thing", KEY) == store.content("thing", other)
    third = store.key_of("thing", 1, {"a": 3}, {}, threads=1)
    store.keep("thing", third, lambda folder: (folder / "data.bin").write_bytes(b"contenT") and None)
    assert store.content("thing", third) != store.content("thing", KEY)


def test_a_maker_must_write_what_its_kind_holds():
    with pytest.raises(ValueError, match="expected images.tar, rows.parquet"):
        store.keep("shard", KEY, make)
    with pytest.raises(ValueError, match="expected at least one file"):
        store.keep("thing", KEY, lambda folder: None)
    assert store.missing("shard", KEY) and store.missing("thing", KEY)


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
