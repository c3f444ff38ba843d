"""Answers: the threshold comes from each cell's validation images, decides `correct`, and the tables keep 05's
contract."""

import numpy as np
import pandas as pd
import pytest
from small_grid import HOW, hues, make_run

from skinsyn import images
from skinsyn.classifier import arms, errors, grid, thresholds
from skinsyn.datasets import phantom
from skinsyn.run import store
from skinsyn.stats import predictions as contract

FEW = (*phantom.CONDITIONS[:2], *phantom.MALIGNANT[:1])
ARMS = [{"task": ["condition", "malignancy"], "n": 4, "ratios": [0, 2], "method": "in-then-outpaint"}]


@pytest.fixture
def collected():
    make_run(conditions=FEW, train=4, validation=12, test=15, draw=hues)
    wanted = grid.cells(ARMS, 2)
    given = grid.read_tables("tiny", wanted)
    how = grid.prepare(wanted, given, HOW.but(epochs=15, learning_rate=3e-3))
    predictions, cells = grid.collect(wanted, grid.run("tiny", wanted, how), given.images)
    return predictions, cells, wanted, given, how


def test_the_threshold_is_of_validation_images_and_decides_what_is_correct(collected):
    predictions, cells, _, given, _ = collected
    malignancy = cells[cells["task"] == "malignancy"]
    assert cells.loc[cells["task"] == "condition", "threshold"].isna().all()
    assert malignancy["threshold"].between(0, 1).all() and malignancy["threshold"].nunique() > 1
    held = set(given.images.loc[given.images["split"] == "validation", "image_id"])
    for row in malignancy.itertuples():
        kept = pd.read_parquet(store.unit_dir("cell", row.key) / "predictions.parquet")
        own = kept[kept["split"] == "validation"]
        assert set(own["image_id"]) == held
        assert row.threshold == thresholds.youden(own["y_true"] == "malignant", own["p_malignant"])
        part = predictions[(predictions["arm"] == row.arm) & (predictions["run"] == row.run)]
        called = part["p_malignant"].astype(float) >= row.threshold
        assert part["threshold"].eq(row.threshold).all()
        assert part["correct"].eq(called == (part["y_true"] == "malignant")).all()


def test_the_contract_of_05_reads_it_and_takes_the_threshold(collected):
    predictions, cells, *_ = collected
    assert contract.check_predictions(predictions) == []
    block = contract.blocks(predictions)["malignancy"]
    for place, arm in enumerate(block.arms["arm"]):
        expected = cells[cells["arm"] == arm].sort_values("run")["threshold"].to_numpy()
        np.testing.assert_array_equal(block.threshold[place], expected)
    spoilt = predictions.assign(correct=~predictions["correct"].astype(bool))
    with pytest.raises(ValueError, match="contradicts"):
        contract.check_predictions(spoilt)


def test_confusion_adds_up_and_agrees_with_correct(collected):
    predictions, cells, *_ = collected
    for task in ("condition", "malignancy"):
        arm = cells.loc[cells["task"] == task, "arm"].iloc[0]
        part = predictions[predictions["arm"] == arm]
        table = errors.confusion(predictions, [arm])
        assert table["images"].sum() == len(part) and table.groupby("y_true")[
            "share"
        ].sum().to_numpy() == pytest.approx(1)
        assert table.loc[table["y_true"] == table["called"], "images"].sum() == part["correct"].sum()


def test_calibration_by_hand():
    p = np.array([0.6, 0.6, 0.9, 0.9])
    frame = pd.DataFrame(
        {"arm": "x", "run": 0, "task": "condition", "image_id": list("abcd"), "p_one": p, "p_two": 1 - p}
    )
    frame = frame.assign(
        y_true=["one", "two", "one", "one"], correct=[True, False, True, True], **arms.Arm(n=1, sources=1).json()
    )
    found = errors.calibration(frame, ["x"], bins=2)
    assert found[["images", "sure", "right"]].to_numpy() == pytest.approx(np.array([[2, 0.6, 0.5], [2, 0.9, 1.0]]))


def test_the_worst_errors_and_the_synthetic_image_most_like_each(collected):
    predictions, _, wanted, given, how = collected
    arm = "condition/n4/x2/in-then-outpaint/fine-tuned"
    shown = errors.worst(predictions, arm, 5)
    mean = predictions[predictions["arm"] == arm].copy()
    mean["p_true"] = [row[f"p_{row['y_true']}"] for _, row in mean.iterrows()]
    assert shown["p_true"].to_numpy() == pytest.approx(np.sort(mean.groupby("image_id")["p_true"].mean())[:5])
    with pytest.raises(ValueError, match="no predictions of the arm 'nobody'"):
        errors.worst(predictions, "nobody")

    one = next(grid.members(cell, given) for cell in wanted if cell.arm == arm)
    among, asked = one.training[one.n_real :], one.test.head(4)
    found = errors.nearest(asked, among, how.training)
    assert set(found["nearest"]) <= set(among["image_id"]) and images.pixels(found).shape == (4, 32, 32, 3)
    itself = errors.nearest(among.head(3), among, how.training)
    assert itself["nearest"].tolist() == among["image_id"].head(3).tolist() and itself["distance"].max() < 1e-6
