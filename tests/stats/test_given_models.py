"""Tests given these trained models: the paired tables of each run, and clusters flipped together."""

import numpy as np
import pytest
from declarations import CONTROL, SYNTHETIC, declare
from simulated import predictions

from skinsyn.stats import contrasts, families, given_models
from skinsyn.stats.predictions import blocks

BLOCKS = blocks(predictions(ratios=(0, 10)))


def test_by_run():
    table = given_models.by_run(BLOCKS, SYNTHETIC, CONTROL, {"fst_group": "V-VI"})
    first, _ = contrasts.answers(BLOCKS, SYNTHETIC, {"fst_group": "V-VI"})
    second, _ = contrasts.answers(BLOCKS, CONTROL, {"fst_group": "V-VI"})
    assert len(table) == 5 and (table[["both", "gained", "lost", "neither"]].sum(axis=1) == 36).all()
    assert table["estimate"].to_numpy() == pytest.approx(100 * (first - second).mean(1))
    row = table.iloc[2]
    assert row["exact"] == families.mcnemar(row["gained"], row["lost"]).exact
    assert (table["low"] <= table["estimate"]).all() and (table["estimate"] <= table["high"]).all()
    assert table["flags"].str.contains("36 images of 18 clusters").all()
    with pytest.raises(ValueError, match="no test image"):
        given_models.by_run(BLOCKS, SYNTHETIC, CONTROL, {"fst_group": "unknown"})


def test_max_t_table():
    arms = {"synthetic 32": {"like": "synthetic", "n": 32}, "control 32": {"like": "control", "n": 32}}
    declared = declare(
        {"id": "gain", "by": {"fst_group": "all"}},
        {"id": "nobody", "where": {"fst_group": "unknown"}},
        {"id": "more", "estimand": "synthetic - control - synthetic 32 + control 32"},
        arms=arms,
    )
    table = given_models.max_t_table(BLOCKS, declared, ["F"], draws=999).set_index("id")
    for group in ("I-II", "V-VI"):
        gain = contrasts.gain(BLOCKS, SYNTHETIC, CONTROL, where={"fst_group": group})
        assert table.loc[f"gain, {group}", "estimate"] == pytest.approx(100 * gain.estimate)
    tested = table.drop(index="nobody")
    assert tested["p_max_t"].between(1 / 1000, 1).all()
    assert np.isnan(table.loc["nobody", "p_max_t"]) and "no test image" in table.loc["nobody", "flags"]
    assert given_models.max_t_table(BLOCKS, declared, []).empty
