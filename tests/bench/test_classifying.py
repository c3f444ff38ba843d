"""The grid's timed sections at tiny size: the study is well formed, extrapolation is exact where it can be, rows
stand."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench import agreement, body, bookkeeping, classifying, learners, ratios, study, timing
from skinsyn import images
from skinsyn.classifier import grid
from skinsyn.classifier.settings import Training
from skinsyn.run import tables

CONDITIONS = ["annular", "papular"]
SMALL = {"image_size": 32, "epochs": 3}
needs_fastai = pytest.mark.skipif(not learners.available(), reason=f"fastai is not installed: {learners.INSTALL}")


def check(row: dict, work: str, goal: float) -> None:
    """A row that 09 can keep."""
    assert row["work"] == work and row["goal"] == goal and row["ours"] > 0 and row["peer"] > 0
    kept = pd.read_csv(ratios.save([row], "demo"))
    assert list(kept.columns) == list(ratios.COLUMNS) and kept["work"].tolist().count(work) == 1


def test_the_study_has_its_shape_and_every_cell_finds_its_images(tmp_path):
    with timing.own_store():
        study.make(study.PROFILE, CONDITIONS, 3, 2, 2, 2)
        wanted = grid.cells(study.arms([1, 3], 2), 2)
        given = grid.read_tables(study.PROFILE, wanted)
        planned = [grid.plan(cell, grid.Prepared(classifying.TRAINING, ""), given) for cell in wanted]
        assert [len(one.images.training) for one in planned[:4]] == [2, 2, 2, 2] and len(wanted) == 2 * 2 * 2 * 2
        assert {len(one.images.training) for one in planned} == {2, 6, 18}
        assert all(len(part) == 4 for one in planned for part in one.images[1:3])
        synthetic = tables.read(study.PROFILE, "synthetic", made_by="03_generation")
        parents = given.images.set_index("image_id").loc[synthetic["parent"]]
        assert parents["condition"].tolist() == synthetic["condition"].tolist() and set(parents["split"]) == {"train"}
        told = study.save_pngs(tmp_path, planned)
        name, label, part = told[-1][0]
        row = planned[-1].images.training.iloc[0]
        assert (name, part) == (f"{row['image_id']}.png", "training") and label == sorted(CONDITIONS)[row["label"]]
        saved = np.asarray(Image.open(tmp_path / name))
        assert np.array_equal(saved, images.read_shard(row["unit"])[1][row["row"]])
        assert {(tmp_path / file).exists() for rows in told for file, _, _ in rows} == {True}


def test_extrapolation_finds_what_a_cell_and_an_image_cost_and_nothing_below_zero():
    cost = lambda frame: 3 + 0.01 * frame["seen"] + 0.02 * frame["seen"] * frame["transforms"]  # noqa: E731
    measured = pd.DataFrame({"seen": [100, 900, 100, 900], "transforms": [False, False, True, True]})
    wanted = pd.DataFrame({"seen": [50_000, 50_000], "transforms": [False, True]})
    found = classifying.extrapolate(measured.assign(seconds=cost(measured)), wanted)
    assert found == pytest.approx(cost(wanted).to_numpy())
    cheaper = measured.assign(seconds=[2.0, 10.0, 1.9, 9.0])  # transforms cannot save time
    assert np.diff(classifying.extrapolate(cheaper, wanted)) == pytest.approx(0)


def test_a_body_passes_forward_and_backward_as_in_a_cell(monkeypatch):
    about, seen = body.Passes("test_efficientnet", 32, 10, 5, 2), {True: 0, False: 0}
    net = body.features.load_body("test_efficientnet", pretrained=False, pool="catavgmax")
    monkeypatch.setattr(body.features, "shared_body", lambda *_: (net, ""))
    true = type(net).forward

    def counted(self, x):
        seen[self.bn1.training] += len(x)
        return true(self, x)

    monkeypatch.setattr(type(net), "forward", counted)
    body.passes(about)
    assert seen == {True: 2 * 10, False: (2 + 2) * 5}
    assert body.gain_of_bf16(about) > 0


def test_growth_of_memory_is_seen_at_its_peak():
    size = 200 << 20

    def work():
        held = np.ones(size, np.uint8)
        bookkeeping.time.sleep(0.1)
        del held

    assert 0.9 * size < bookkeeping.while_running(work) < 1.5 * size
    assert bookkeeping.while_running(lambda: bookkeeping.time.sleep(0.05)) < 0.2 * size


def test_time_in_training_is_counted_and_nothing_else_is(monkeypatch):
    def heads(*_):
        bookkeeping.time.sleep(0.05)
        yield 0, "done"

    monkeypatch.setattr(bookkeeping.stacked, "train_heads", heads)
    with bookkeeping._in_training() as spent:
        for _ in bookkeeping.stacked.train_heads([], []):
            bookkeeping.time.sleep(0.2)
    assert 0.05 <= spent[0] < 0.2 and bookkeeping.stacked.train_heads is heads


def test_of_keeping_the_processors_time_counts_in_whatever_thread_and_no_wait(monkeypatch):
    def keep(until):
        while bookkeeping.time.thread_time() < until:
            pass
        bookkeeping.time.sleep(0.3)
        return "key"

    monkeypatch.setattr(grid, "_keep", keep)
    with bookkeeping._in_keeping() as spent, ThreadPoolExecutor(1) as writer:
        begun = writer.submit(bookkeeping.time.thread_time).result()
        assert writer.submit(grid._keep, begun + 0.1).result() == "key"
    assert 0.09 <= spent[0] < 0.25 and grid._keep is keep


def test_chunks_hold_every_cell_once_and_none_holds_more_than_an_eighth():
    wanted = grid.cells(study.arms([1, 8, 16, 32, 64, 128, 228], 10), 5)
    head, whole = (grid.Prepared(Training(trainable=trainable), "") for trainable in ("head", "all"))
    chunks = grid.chunks("p", wanted, head)
    cells = [cell for chunk in chunks for cell in chunk.cells]
    assert len(cells) == 140 and set(cells) == set(wanted) and all(chunk.prepared == head for chunk in chunks)
    shown = [sum(map(grid._images, chunk.cells)) for chunk in chunks]
    assert max(shown) <= sum(shown) / 8 and shown[0] == 2 * 228 * 11
    assert len(grid.chunks("p", wanted, whole)) == 140
    few = grid.cells([{"n": [1, 2]}], 3)
    assert len(grid.chunks("p", few, head)) == 1, "what is small is not cut"


@pytest.mark.slow
@needs_fastai
def test_grid_beside_fastai():
    shape = study.Shape(CONDITIONS, [2, 4], 2, 2, 3)
    row, measured = classifying.against_fastai(shape, SMALL, peer_sizes=[2, 4], peer_runs=1)
    check(row, "grid_head_vs_fastai", 100)
    assert "stand-ins" in row["note"] and "extrapolated" in row["note"] and "points" in row["note"]
    assert (
        len(measured) == 2 * 2 * 2
        and measured["epochs"].between(1, 3).all()
        and measured["accuracy"].between(0, 1).all()
    )
    assert (measured["seen"] == measured["epochs"] * (measured["shown"] + 6) + 6).all()


@pytest.mark.slow
@needs_fastai
def test_heads_at_once_beside_fastais_alone():
    shape = study.Shape(CONDITIONS, [4, 8], 1, 3, 6)
    row, table = agreement.against_fastai(shape, SMALL | {"image_size": 64, "epochs": 20})
    check(row, "grid_head_accuracy_vs_fastai", 0.99)
    assert len(table) == 2 * 2 * 3 and table[["ours", "peer"]].notna().all().all() and "standard error" in row["note"]
    assert min(table["ours"].mean(), table["peer"].mean()) > 60, "both are meant to learn; half is guessing"
    assert abs(table["ours"].mean() - table["peer"].mean()) < 20, "cells of the same images, far apart"


@pytest.mark.slow
@needs_fastai
def test_a_cell_of_fastai_tells_all_of_its_epochs(tmp_path):
    with timing.own_store():
        study.make(study.PROFILE, CONDITIONS, 2, 2, 0, 1)
        how = classifying.TRAINING.but(image_size=32, epochs=3, patience=3)
        (cell,) = classifying._peer_cells(tmp_path, grid.cells([{"n": 2}], 1), how, 1)
        found = learners.train_cell(cell)
    assert found["epochs"] == 3 and found["seen"] == 3 * (4 + 4) + 4


@pytest.mark.slow
@needs_fastai
def test_cells_beside_fastai():
    row, turns = classifying.cell_by_cell(CONDITIONS, 4, 2, 2, SMALL, 1)
    check(row, "grid_head_bn_vs_fastai", 1.5)
    assert "floor" in row["note"] and "bf16" in row["note"] and {"fp32", "peer", "floor"} <= set(turns.columns)


@pytest.mark.slow
def test_dask_beside_processes_gives_the_same_bytes(monkeypatch):
    row, turns = classifying.against_processes(study.Shape(CONDITIONS, [2, 4], 2, 2, 3), SMALL, 1)
    check(row, "grid_dask2_vs_processes", 0.9)
    assert "the same bytes in all 2 runs" in row["note"] and list(turns.columns) == ["ours", "peer"]


@pytest.mark.slow
def test_bookkeeping_and_memory():
    row = bookkeeping.thousand_cells(study.Shape(CONDITIONS, [1, 2], 2, 2, 3), SMALL)
    check(row, "grid_bookkeeping_vs_limit", 1)
    assert (
        row["peer"] == 5 and row["ours"] < 100 and row["note"].startswith("16 cells of 1 to 2") and "MB" in row["note"]
    )
    row = bookkeeping.memmap(3000, {"image_size": 64}, 8)
    check(row, "grid_memmap_vs_limit", 1)
    assert row["peer"] == 1 and row["ours"] < 1 and "8 of 3000 images" in row["note"]
