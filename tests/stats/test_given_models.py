"""Tests given these trained models: the paired tables of each run, and clusters flipped together."""

import numpy as np
import pytest
from simulated import predictions

from skinsyn.stats import contrasts, families, given_models
from skinsyn.stats.predictions import blocks

BLOCKS = blocks(predictions(ratios=(0, 10)))
SYNTHETIC = {"task": "condition", "n": 8, "ratio": 10, "transforms": True}
CONTROL = {"task": "condition", "n": 8, "ratio": 0, "transforms": True}


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
    hypotheses = [{"id": "gain", "each": {"fst_group": "all"}}, {"id": "nobody", "where": {"fst_group": "unknown"}}]
    hypotheses += [{"id": "more", "kind": "difference", "minus": {"treatment": {"n": 32}, "control": {"n": 32}}}]
    family = {"correction": "holm", "treatment": SYNTHETIC, "control": CONTROL, "hypotheses": hypotheses}
    table = given_models.max_t_table(BLOCKS, {"F": family}, draws=999).set_index("id")
    for group in ("I-II", "V-VI"):
        gain = contrasts.gain(BLOCKS, SYNTHETIC, CONTROL, where={"fst_group": group})
        assert table.loc[f"gain, {group}", "estimate"] == pytest.approx(100 * gain.estimate)
    tested = table.drop(index="nobody")
    assert tested["p_max_t"].between(1 / 1000, 1).all()
    assert np.isnan(table.loc["nobody", "p_max_t"]) and "no test image" in table.loc["nobody", "flags"]
    with pytest.raises(ValueError, match="'macro' or 'micro'"):
        given_models.max_t_table(BLOCKS, {"F": family | {"average": "mean"}})
