"""Tables by skin type agree with the tests they describe."""

import pandas as pd
import pytest
from simulated import predictions

from skinsyn.stats import by_group, contrasts
from skinsyn.stats.predictions import blocks

BLOCKS = blocks(predictions(ratios=(0, 10)))
SYNTHETIC = {"n": 8, "ratio": 10, "transforms": True}
CONTROL = {"n": 8, "ratio": 0, "transforms": True}


def test_tables_by_group():
    gains = by_group.gains_by_group(BLOCKS, SYNTHETIC, CONTROL).set_index(["task", "group"])
    assert len(gains) == 8 and gains.loc[("condition", "all"), "images"] == 108
    expected = contrasts.gain(
        BLOCKS, {**SYNTHETIC, "task": "condition"}, {**CONTROL, "task": "condition"}, "micro", {"fst_group": "V-VI"}
    )
    assert gains.loc[("condition", "V-VI"), "estimate"] == pytest.approx(100 * expected.estimate)
    arms = {"with": SYNTHETIC, "without": CONTROL, "gan": {**SYNTHETIC, "method": "gan"}}
    accuracy = by_group.accuracy_by_group(BLOCKS, arms, draws=100).set_index(["task", "group", "arm"])
    step = (
        accuracy.loc[("condition", "V-VI", "with"), "accuracy"]
        - accuracy.loc[("condition", "V-VI", "without"), "accuracy"]
    )
    assert step == pytest.approx(expected.estimate)
    assert accuracy.loc[("condition", "", "gan"), "flags"] == "not run"
    assert (accuracy["gap"].dropna() >= 0).all() and accuracy["gap_p"].dropna().between(0, 1).all()


def test_a_task_that_was_not_run():
    only = {"condition": BLOCKS["condition"]}
    gains = by_group.gains_by_group(only, SYNTHETIC, CONTROL)
    assert gains.loc[gains["task"] == "malignancy", "flags"].str.startswith("not run: ").all()
    assert "verdict" not in gains  # uncorrected: a description gives none
    accuracy = by_group.accuracy_by_group(only, {"with": SYNTHETIC}, draws=50)
    assert accuracy.loc[accuracy["task"] == "malignancy", "flags"].tolist() == ["not run"]


def test_auroc_gains():
    """Against the definition, pair by pair, averaged over runs."""
    table = by_group.auroc_gains(BLOCKS, SYNTHETIC, CONTROL).set_index("group")
    block = BLOCKS["malignancy"]
    truth = block.images["y_true"].eq("malignant").to_numpy()
    arm = block.arms.query("n == 8 and ratio == 10 and transforms").index[0]
    scores = block.p[arm, :, :, 1]
    higher = (scores[:, truth][:, :, None] > scores[:, ~truth][:, None, :]).mean()
    assert table.loc["all", "with_synthetic"] == pytest.approx(higher)
    step = table["with_synthetic"] - table["without"]
    assert table["estimate"].to_numpy() == pytest.approx(100 * step.to_numpy())
    assert (table["low"] < table["estimate"]).all() and list(table.index) == ["all", "I-II", "III-IV", "V-VI"]
    absent = by_group.auroc_gains({"condition": BLOCKS["condition"]}, SYNTHETIC, CONTROL)
    assert absent["flags"][0].startswith("not run") and absent["estimate"].isna().all()


def test_copies_of_a_run_are_one_run_for_auroc_too():
    table = predictions(ratios=(0, 10))
    runs = sorted(table["run"].unique())
    copied = pd.concat([table[table["run"] == runs[0]].assign(run=run) for run in runs])
    areas = by_group.auroc_gains(copied, {**SYNTHETIC, "task": "malignancy"}, {**CONTROL, "task": "malignancy"})
    assert (areas["runs"] == 1).all() and areas["p"].isna().all()
    assert areas["flags"].str.contains("one run only").all()
    assert areas["flags"].str.contains(f"1 distinct of {len(runs)} runs: copies are left out").all()
