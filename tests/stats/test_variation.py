"""What a claim generalises to follows from what was drawn anew in each run, and stands beside every p."""

import numpy as np
import pandas as pd
import pytest
from simulated import predictions

from skinsyn.classifier import variation as made
from skinsyn.classifier.arms import Cell
from skinsyn.report import words
from skinsyn.stats import contrasts, variation
from skinsyn.stats.hypotheses import Hypotheses
from skinsyn.stats.mrmc import paired_gain
from skinsyn.stats.predictions import blocks

IMAGES = pd.DataFrame(
    {"image_id": list("abcdefgh"), "condition": list("xxxyyyyy"), "split": ["train"] * 6 + ["test"] * 2}
)
DECLARED = {
    "arms": {
        "control": {"task": "condition", "n": 32, "ratio": 0, "transforms": True},
        "synthetic": {"like": "control", "ratio": 10},
        "gone": {"like": "control", "n": 999},
    },
    "families": {"F0": {"correction": "holm"}},
    "hypotheses": [
        {"id": "primary", "family": "F0", "estimand": "synthetic - control"},
        {"id": "absent", "family": "F0", "estimand": "gone - control"},
    ],
}


def cell(arm, run, ratio=0):
    method = {"method": "gan"} if ratio else {}
    return Cell(arm=arm, n=2, sources=2, ratio=ratio, run=run, **method)


def test_shares_of_real_images_and_generators_are_counted():
    uses = [
        (cell("real", 0), ["a", "b", "d", "e"]),
        (cell("real", 1), ["a", "c", "d", "f"]),
        (cell("shared", 0, 1), ["a", "d", "s1", "s2"]),
        (cell("shared", 1, 1), ["b", "e", "s1"]),
        (cell("anew", 0, 1), ["a", "s1"]),
        (cell("anew", 1, 1), ["b", "s3"]),
        (cell("once", 0, 1), ["a", "s1"]),
    ]
    table = made.table(uses, {"s1": "G", "s2": "H", "s3": "I"}, IMAGES).set_index("arm")
    assert table.loc["real", "shared_real"] == 0.5 and np.isnan(table.loc["real", "shared_generators"])
    assert table.loc["shared", ["shared_real", "shared_generators", "generators"]].tolist() == [0.0, 0.75, 2]
    assert table.loc["anew", "shared_generators"] == 0.0
    assert table.loc["once", ["shared_real", "shared_generators"]].isna().all()
    assert table.loc["real", ["pool_low", "pool_high"]].tolist() == [3, 3], "the test's images are no pool"


@pytest.mark.parametrize(
    "generators, real, scope",
    [
        (0.0, 0.1, "For new training runs and new patients"),
        (1.0, 0.1, "With these generators, for new real images, new initial weights and new patients"),
        (0.0, 0.3, "For real images drawn from these 12 per class, new initial weights and new patients"),
        (0.5, 0.0, "With generators that runs share, for new real images, new initial weights and new patients"),
    ],
)
def test_only_what_was_drawn_anew_is_generalised_to(generators, real, scope):
    one = variation.Variation(known=True, generators=generators, real=real, pool="12")
    assert one.scope == scope and (one.shared == "") == ("new training runs" in scope)


def test_the_sentence_of_a_gain_names_what_runs_share():
    table = predictions()
    declared, grid = Hypotheses.read(DECLARED, margin=0.03), blocks(table)
    tests = contrasts.test_families(grid, declared)
    arms = table.loc[table["task"] == "condition", ["arm", "ratio"]].drop_duplicates()
    rows = {"runs": 5, "pool_low": 40, "pool_high": 48, "shared_real": 0.66}
    known = arms.assign(**rows, shared_generators=np.where(arms["ratio"] > 0, 1.0, np.nan))
    varied = variation.beside(tests, declared, grid, known)
    assert varied["shared"].tolist() == ["generators; 66 % of real images", ""], (
        "the arm that was not run shares nothing"
    )
    text = words.gain({**varied.iloc[0].to_dict(), "verdict": "gain"})
    assert "With these generators, for real images drawn from these 40 to 48 per class" in text
    assert "new training runs" not in text
    unknown = variation.beside(tests, declared, grid, None)
    assert unknown["shared"].tolist() == ["not recorded", ""] and "not recorded" in unknown["scope"][0]
    assert variation.beside(tests, declared, grid, known.head(1))["shared"][0] == "not recorded"


def test_parts_of_the_variance_add_up_to_the_squared_standard_error():
    rng = np.random.default_rng(0)
    tables = [rng.integers(-1, 2, (5, 30)).astype(float), rng.integers(-1, 2, (5, 12)).astype(float)]
    parts = variation.parts_of_variance(tables, [0.5, 0.5])
    assert parts["variance"].iloc[-1] == pytest.approx(1e4 * paired_gain(tables, [0.5, 0.5]).se ** 2)
    assert parts["share"].iloc[:2].sum() == pytest.approx(1)
    assert variation.parts_of_variance([tables[0][:1]], [1.0])["share"].isna().all()
