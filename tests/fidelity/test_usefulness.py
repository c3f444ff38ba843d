"""Gains by condition from the predictions, and whether a planted relation is found and an absent one is not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skinsyn.fidelity import usefulness


def test_gains_are_paired_with_their_control():
    base = {"task": "condition", "n": 4, "transforms": False, "steps": "epochs", "sources": 4, "scope": "none"}
    rows = []
    for run in (0, 1):
        for condition, plain, helped in (("a", [0, 0, 1, 1], [1, 1, 1, 1]), ("b", [1, 0, 0, 0], [0, 0, 0, 0])):
            for answers, arm in (
                (plain, {"arm": "c", "ratio": 0}),
                (helped, {"arm": "s", "ratio": 10, "scope": "condition"}),
            ):
                rows += [{**base, **arm, "run": run, "condition": condition, "correct": bool(x)} for x in answers]
    frame = pd.DataFrame(rows)
    frame["method"] = np.where(frame["ratio"] > 0, "inpaint", "none")
    frame["generator"] = np.where(frame["ratio"] > 0, "base", "none")
    alone = frame[frame["ratio"] > 0].assign(n=0, arm="alone", correct=False)
    other = frame[frame["ratio"] > 0].assign(transforms=True, arm="without control", correct=False)
    found = usefulness.gains(pd.concat([frame, alone, other])).set_index("condition")
    assert found["gain"].to_dict() == {"a": 0.5, "b": -0.25} and found["arms"].tolist() == [1, 1]


def points(noise, seed=0, conditions=9, models=3):
    rng = np.random.default_rng(seed)
    gain = rng.standard_normal((conditions, models))
    rows = [
        {"condition": f"c{i}", "method": f"m{j}", "generator": "g", "scope": "s", "gain": gain[i, j]}
        | {"good": gain[i, j] + 5 * j + noise * rng.standard_normal(), "idle": rng.standard_normal(), "flat": 1.0}
        for i in range(conditions)
        for j in range(models)
    ]
    return pd.DataFrame(rows)


def test_one_model_gives_spearmans_rho():
    table = points(1.0, models=1)
    found = usefulness.correlations(table, ["good"], draws=199).iloc[0]
    assert found["rho"] == pytest.approx(stats.spearmanr(table["good"], table["gain"]).statistic)
    assert found["low"] <= found["rho"] <= found["high"]


def test_a_planted_relation_is_found_and_holm_counts_the_others():
    found = usefulness.correlations(points(0.05), ["good", "idle", "flat"], draws=999).set_index("measure")
    assert found.loc["good", "rho"] > 0.9 and found.loc["good", "p_adjusted"] == pytest.approx(
        2 * found.loc["good", "p"]
    )
    assert found.loc["good", "p"] <= 0.002 and found.loc["idle", "p"] > 0.01
    assert np.isnan(found.loc["flat", "rho"]) and "same in every" in found.loc["flat", "flags"]
    few = usefulness.correlations(points(0.05, conditions=3), ["good"], draws=99).iloc[0]
    assert np.isnan(few["p"]) and "fewer than" in few["flags"]


@pytest.mark.slow
def test_size_under_the_null():
    p = [usefulness.correlations(points(1, s), ["idle"], draws=99, seed=s)["p"].iloc[0] for s in range(100)]
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.11


def test_a_model_without_the_measure_is_left_out():
    table = points(0.05)
    table.loc[(table["method"] == "m2") & (table["condition"] != "c0"), "good"] = np.nan
    found = usefulness.correlations(table, ["good"], draws=99).iloc[0]
    assert (found["models"], found["conditions"]) == (2, 9)
