"""What a grid's workers leave behind: failures with their parameters, tries alone, and the state of every cell."""

import errno
import json
import os
import socket
import time
from concurrent.futures import Future

import pytest
from small_grid import HOW, hues, make_run

from skinsyn.__main__ import main
from skinsyn.classifier import grid, stacked, status
from skinsyn.classifier.arms import Cell
from skinsyn.datasets import phantom
from skinsyn.run import files, paths, store

FEW = phantom.CONDITIONS[:3]
ARMS = [{"n": [1, 2, 4]}]


def prepared():
    make_run("smoke", conditions=FEW, train=4, draw=hues)
    wanted = grid.cells(ARMS, 2)
    given = grid.read_tables("smoke", wanted)
    return wanted, given, grid.prepare(wanted, given, HOW)


def break_cells(monkeypatch, breaks):
    """Cells for which breaks(job, all jobs of the call) holds end with an error."""
    true = stacked.train_heads

    def broken(bank, jobs, *rest):
        for number, done in true(bank, jobs, *rest):
            yield number, ValueError("planted") if breaks(jobs[number], jobs) else done

    monkeypatch.setattr(stacked, "train_heads", broken)


def test_a_failed_cell_is_told_with_its_parameters_and_tried_again(monkeypatch, capsys):
    wanted, given, how = prepared()
    with monkeypatch.context() as patch:
        break_cells(patch, lambda job, jobs: len(job.training.rows) == 6)
        with pytest.raises(
            Exception, match=r"(?s)2 of 6 cells failed, and again when tried alone.*condition/n2, run 0: Val"
        ):
            grid.run("smoke", wanted, how)
    keys = [grid.plan(cell, how, given).key for cell in wanted]
    table = status.states("smoke", wanted, keys)
    assert table["state"].tolist() == ["done", "done", "failed", "failed", "done", "done"]
    asked = {name: value for name, value in HOW.json().items() if name != "seed"} | {"arms": ARMS, "runs": 2}
    words = [part for name, value in asked.items() for part in ("-p", f"04.{name}={json.dumps(value)}")]
    assert main(["grid", "--profile", "smoke", *words]) == 1
    told = capsys.readouterr().out
    assert "6 cells: 4 done, 0 running, 2 failed, 0 missing" in told
    assert "failed: condition/n2, run 1" in told and "ValueError: planted" in told and '"learning_rate": 0.001' in told

    kept = {key: (store.unit_dir("cell", key) / "manifest.json").stat().st_mtime_ns for key in keys[:2] + keys[4:]}
    assert grid.run("smoke", wanted, how) == keys
    assert status.states("smoke", wanted, keys)["state"].eq("done").all() and not status.failures("smoke")
    assert kept == {key: (store.unit_dir("cell", key) / "manifest.json").stat().st_mtime_ns for key in kept}
    assert main(["grid", "--profile", "smoke", *words]) == 0


def test_a_cell_that_fails_in_company_is_tried_alone(monkeypatch):
    wanted, _, how = prepared()
    break_cells(monkeypatch, lambda job, jobs: len(jobs) > 1 and len(job.training.rows) == 6)
    assert len(set(grid.run("smoke", wanted, how))) == 6 and not status.failures("smoke")


def test_where_all_break_each_is_tried_alone(monkeypatch):
    wanted, _, how = prepared()
    true = stacked.train_heads

    def narrow(bank, jobs, *rest):
        if len(jobs) > 1:
            raise MemoryError("too many at once")
        yield from true(bank, jobs, *rest)

    monkeypatch.setattr(stacked, "train_heads", narrow)
    assert len(set(grid.run("smoke", wanted, how))) == 6 and not status.failures("smoke")


def test_a_full_disk_ends_the_task_and_what_was_kept_before_stays(monkeypatch):
    wanted, given, how = prepared()
    keys = [grid.plan(cell, how, given).key for cell in wanted]
    true, written = grid.answers.write, []

    def filled(folder, *rest):
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        written.append(true(folder, *rest))

    with monkeypatch.context() as patch:
        patch.setattr(grid.answers, "write", filled)
        with pytest.raises(Exception, match="No space left on device"):
            grid.run("smoke", wanted, how)
    states = status.states("smoke", wanted, keys)["state"]
    assert states.value_counts().to_dict() == {"done": 4, "missing": 2}, "not the cells' own failure"
    assert status.running("smoke") == {}
    assert grid.run("smoke", wanted, how) == keys


def test_running_is_what_a_living_worker_has_noted():
    kept = Future()
    with status.at_work("tiny", ["a", "b"]) as keeping:
        keeping(kept)
        kept.set_result("a")
        assert set(status.running("tiny")) == {"a", "b"}
        table = status.states("tiny", [Cell(arm="x", n=1, sources=1, run=i) for i in range(3)], ["a", "c", ""])
        assert table["state"].tolist() == ["running", "missing", "missing"]
        assert "3 cells: 0 done, 1 running, 0 failed, 2 missing" in status.in_words("tiny", table)
    assert status.running("tiny") == {}
    folder = paths.run_dir("tiny") / "grid"
    dead = {"host": socket.gethostname(), "pid": 2**22 + 1, "since": time.time(), "cells": ["a"]}
    files.write_json(folder / "running-here-1.json", dead)
    files.write_json(folder / "running-there-1.json", dead | {"host": "another", "pid": os.getpid(), "cells": ["b"]})
    assert set(status.running("tiny")) == {"b"}
    os.utime(folder / "running-there-1.json", (0, time.time() - status.SILENT - 1))
    assert status.running("tiny") == {}


def test_the_time_left_follows_the_pace_of_this_run():
    wanted, given, how = prepared()
    keys = [grid.plan(cell, how, given).key for cell in wanted]
    with status.at_work("smoke", keys):
        assert status.time_left("smoke", status.states("smoke", wanted, keys)) is None, "nothing is kept yet"
        time.sleep(0.01)
        for cell in wanted[:2]:
            grid.run_cell(cell, how, given)
        table = status.states("smoke", wanted, keys)
        begun = min(status.running("smoke").values())
        assert status.time_left("smoke", table) == pytest.approx((time.time() - begun) * 2, rel=0.2)
        assert "min left" in status.in_words("smoke", table)
