"""The timed sections of 09 at tiny size: rows are well formed, turns are fair, and the pieces do as they say."""

import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from bench import drawing, peers, ratios, timing, tuning
from skinsyn import images
from skinsyn.diffusion import dreambooth, references
from skinsyn.fidelity import distributions

CONDITIONS = ["annular", "papular"]


def check(row: dict, work: str) -> None:
    """A row that 09 can keep: a positive rate on both sides, their ratio, and a note that says where time goes."""
    assert row["work"] == work and row["unit"] == "images/s" and row["goal"] > 0
    assert row["ratio"] == pytest.approx(row["ours"] / row["peer"]) and row["ours"] > 0
    assert "UNet's" in row["note"] and "floor" in row["note"]
    kept = pd.read_csv(ratios.save([row], "demo"))
    assert list(kept.columns) == list(ratios.COLUMNS) and kept["work"].tolist().count(work) == 1


def test_contestants_take_turns_and_the_warm_up_does_not_count():
    order = []
    works = {name: lambda run, name=name: order.append((name, run)) or f"{name}{run}" for name in ("a", "b")}
    seconds, made = timing.by_turns(works, 2)
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert list(seconds.index) == [1, 2] and list(seconds.columns) == ["a", "b"] and (seconds >= 0).all().all()
    assert made == {"a": ["a1", "a2"], "b": ["b1", "b2"]}


def test_time_in_the_unet_is_counted_and_nothing_else_is(monkeypatch):
    monkeypatch.setattr(timing.UNet2DConditionModel, "forward", lambda unet, weight: (time.sleep(0.05), weight * 2)[1])
    unet, weight = timing.UNet2DConditionModel.__new__(timing.UNet2DConditionModel), torch.ones(1, requires_grad=True)

    def work() -> str:
        time.sleep(0.2)
        unet.forward(weight).backward()
        return "done"

    plain = timing.UNet2DConditionModel.forward, torch.Tensor.backward
    made, spent = timing.in_unet(work)
    assert made == "done" and spent >= 0.05 and float(weight.grad) == 2
    begun = time.perf_counter()
    _, nothing = timing.in_unet(lambda: time.sleep(0.05))
    assert nothing == 0 and time.perf_counter() - begun >= 0.05
    assert (timing.UNet2DConditionModel.forward, torch.Tensor.backward) == plain, "left as it was"


def test_the_store_is_its_own_and_goes_away(own_runs, monkeypatch):
    with timing.own_store() as place:
        frame = timing.phantoms(CONDITIONS, 3, 5)
        assert len(images.pixels(frame.to_dict("records"))) == 6 and list(frame["condition"]) == sorted(
            frame["condition"]
        )
        assert (place / "runs").exists() and not (own_runs / "runs").exists()
    assert not place.exists()


def test_kid_is_zero_on_average_for_one_distribution_and_grows_with_the_shift():
    rng = np.random.default_rng(0)
    same = [distributions.kid(rng.normal(size=(40, 8)), rng.normal(size=(50, 8))).value for _ in range(200)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(200), "unbiased"
    shifted = [
        distributions.kid(rng.normal(shift, 1, (400, 8)), rng.normal(size=(400, 8))).value for shift in (0.3, 0.6, 1.2)
    ]
    assert 0 < shifted[0] < shifted[1] < shifted[2]
    x, y = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [3.0, 1.0]])
    # by hand: k(x1, x2) = (2/2 + 1)³ = 8, k(y1, y2) = (3/2 + 1)³ = 15.625, and the mean of (1.5³, 3.5³, 1, 1.5³)
    assert distributions.kid(x, y).value == pytest.approx(8 + 15.625 - 2 * (1.5**3 + 3.5**3 + 1 + 1.5**3) / 4)


def test_validation_loss_is_low_for_a_perfect_unet_and_the_same_every_time():
    with timing.own_store():
        rows, base = timing.phantoms(CONDITIONS[:1], 2, 3).to_dict("records"), timing.bases()["text-to-image"]
        unet = references.load_base(base, "text-to-image").unet
        once, again = (tuning.validation_loss(unet, base, rows, "An image of {condition}") for _ in range(2))
        assert once == again and 0 < once < 1
        flat = tuning.validation_loss(
            lambda given, *_: SimpleNamespace(sample=given * 0), base, rows, "An image of {condition}"
        )
        assert flat > once, "a UNet that says nothing does worse than a taught one"


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "synderm", None)
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install 'skinsyn"):
        tuning.against_synderm(CONDITIONS, 2, 1, {}, 1)


def test_the_figure_shows_every_row_and_which_goals_were_missed():
    frame = pd.DataFrame({"work": ["a", "b", "c"], "ratio": [2.0, 0.5, 3.0], "goal": [3.0, 0.4, np.nan]})
    (axes,) = ratios.figure(frame).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] != colours[1] == colours[2]


def test_benchmark_rows_are_updated_by_work():
    path = ratios.save()
    assert path.read_text() == "work,unit,ours,peer,ratio,goal,note\n"
    ratios.save([ratios.row("b", "seconds", 2, 7, 1.4), ratios.row("a", "images/s", 30, 10, better="more")])
    before = path.read_text().splitlines()
    ratios.save([ratios.row("a", "images/s", 40, 10, 100, "two cores", better="more")])
    after = path.read_text().splitlines()
    assert after[1] == "a,images/s,40,10,4,100,two cores" and after[2] == before[2] == "b,seconds,2,7,3.5,1.4,"
    assert pd.read_csv(path)["ratio"].tolist() == [4, 3.5]
    with pytest.raises(ValueError, match="given twice"):
        ratios.save([ratios.row("a", "s", 1, 1)] * 2)
    with pytest.raises(ValueError, match="above 0"):
        ratios.row("a", "s", 0, 1)


@pytest.mark.slow
@pytest.mark.skipif(not peers.available(), reason=f"synderm is not installed: {peers.INSTALL}")
def test_synderm_row():
    row, turns = tuning.against_synderm(CONDITIONS, 4, 2, {"epochs": 2}, 1)
    check(row, "fine_tune_vs_synderm")
    assert list(turns.columns) == ["ours", "peer", "ours_loss", "peer_loss"] and len(turns) == 1
    assert turns["ours_loss"].iloc[0] == pytest.approx(turns["peer_loss"].iloc[0], rel=0.05), (
        "the same base, hardly taught"
    )


@pytest.mark.slow
def test_generation_rows():
    rows, turns = drawing.against_loop(CONDITIONS, 2, {"sampling_steps": 8}, 2, real=4, steps=2)
    for row, name in zip(rows, ("exact", "fast"), strict=True):
        check(row, f"generate_{name}_vs_diffusers")
        assert "KID" in row["note"]
    assert len(turns) == 2 and np.isfinite(turns.to_numpy()).all()


@pytest.mark.slow
def test_dask_rows():
    check(tuning.against_processes(CONDITIONS, 2, {"epochs": 1}, 1)[0], "fine_tune_dask2_vs_processes")
    check(drawing.against_processes(CONDITIONS, 2, {"sampling_steps": 4}, 1)[0], "generate_dask2_vs_processes")


def test_every_run_has_keys_of_its_own():
    with timing.own_store():
        frame, base = timing.phantoms(CONDITIONS, 2, 1), timing.bases()["text-to-image"]
        plans = [tuning._plan(frame, base, {}, run) for run in range(3)]
        assert len({dreambooth.key_of(task) for plan in plans for task in plan}) == 6
