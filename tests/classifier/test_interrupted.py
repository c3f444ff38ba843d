"""A grid that is killed, wherever that is, goes on where it was and gives the same predictions, byte for byte."""

import os
import signal

import pytest
from small_grid import HOW, hues, make_run

from skinsyn.classifier import features, grid, training
from skinsyn.datasets import phantom
from skinsyn.run import files, paths, store, tables

FEW = phantom.CONDITIONS[:3]
ARMS = [{"n": [1, 2], "transforms": [False, True]}, {"n": 2, "ratios": 1, "method": "in-then-outpaint"}]
# Where the child dies: a pass through the body, an epoch's end, and every time that a file is forced to disk.
MOMENTS = [
    (features, "embed", 1),
    (features, "embed", 2),
    (training.History, "goes_on", 1),
    (training.History, "goes_on", 9),
]


def whole_grid() -> None:
    """What 04 does: features, cells, the table of predictions."""
    wanted = grid.cells(ARMS, 2)
    given = grid.read_tables("tiny", wanted)
    keys = grid.run("tiny", wanted, grid.prepare(wanted, given, HOW), chunk=4)
    predictions, _ = grid.collect(wanted, keys, given.images)
    tables.save("tiny", "predictions", predictions, made_by="04_training_grid")


def dies(place: object, name: str, call: int) -> bool:
    """Run the grid in a child process that is killed at some call of a function; False where it never came to that."""
    child = os.fork()
    if not child:
        calls, true = [], getattr(place, name)

        def dying(*given, **named):
            calls.append(1)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return true(*given, **named)

        setattr(place, name, dying)
        signal.alarm(60)
        try:
            whole_grid()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, "the child hung"
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed"
    return False


def digests() -> dict[str, str]:
    """Of all that a later notebook reads: the table of predictions, every kept unit's files; not what was half
    written."""
    kept = {
        f"{kind}/{manifest.parent.name}": str(store.manifest(kind, manifest.parent.name)["files"])
        for kind in ("cell", "features")
        for manifest in sorted((paths.store_dir() / kind).glob("[!.]*/manifest.json"))
    }
    return kept | {"predictions": files.digest_file(tables.path("tiny", "predictions"))}


@pytest.mark.slow
def test_killed_anywhere_the_predictions_are_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("SKINSYN_RUNS", str(tmp_path / "whole"))
    make_run(conditions=FEW, train=2, draw=hues)
    whole_grid()
    expected = digests()
    features.bank.cache_clear()
    monkeypatch.setenv("SKINSYN_RUNS", str(tmp_path / "killed"))
    make_run(conditions=FEW, train=2, draw=hues)
    died = [dies(*moment) for moment in MOMENTS]
    assert died == [True] * len(MOMENTS)
    # A child keeps what it finished before it died, so the next one comes further; each is cut at another file.
    kills = next(call for call in range(1, 200) if not dies(files, "sync", call)) - 1
    assert kills > 8 and digests() == expected
