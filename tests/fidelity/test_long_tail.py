"""The long tail: own images are counted, a planted relation is found, and equal counts are said to tell nothing."""

import numpy as np
import pandas as pd
import pytest
from planted import GROUPS, arm, predictions

from skinsyn.fidelity import long_tail
from skinsyn.report import open_answers
from skinsyn.stats.predictions import blocks

CLASSES = list("abcdef")
ARMS = {"control": arm(8, 0), "treatment": arm(8, 5)}
SETTINGS = {name: {key: one[key] for key in ("task", "n", "ratio")} for name, one in ARMS.items()}


def images_of(frame, own):
    """The table of 01: the predictions' test images, and `own(condition, group)` training images."""
    test = frame.drop_duplicates("image_id")[["image_id", "condition", "fst_group"]].assign(split="test")
    rows = [(f"t{c}{g}{k}", c, g, "train") for c in CLASSES for g in GROUPS for k in range(own(c, g))]
    return pd.concat([test, pd.DataFrame(rows, columns=["image_id", "condition", "fst_group", "split"])])


def measured(own, **how):
    # The gain falls from condition to condition: the first gains most.
    drop = {name: 0.9 - 0.15 * place for place, name in enumerate(CLASSES)}

    def chance(name, images):
        return images["condition"].map(drop).to_numpy() if name == "treatment" else np.full(len(images), 0.1)

    frame = predictions(ARMS, chance, classes=CLASSES, **how)
    found = long_tail.gains(blocks(frame), images_of(frame, own), SETTINGS["treatment"], SETTINGS["control"])
    return found, long_tail.relation(found, draws=999)


def test_a_planted_relation_is_found_over_conditions():
    found, related = measured(lambda c, g: 2 * (1 + CLASSES.index(c)))
    whole = found[found["over"] == "condition"].set_index("condition")
    assert (
        whole["own"].to_dict() == {c: 6 * (1 + i) for i, c in enumerate(CLASSES)}
        and (whole["fst_group"] == "all").all()
    )
    assert whole.loc["a", "estimate"] == pytest.approx(80, abs=8) and len(found) == 6 + 18
    row = related.set_index("over").loc["condition"]
    assert row["rho"] < -0.9 and row["p"] < 0.05 and row["units"] == 6
    assert "correlation of \N{MINUS SIGN}" in open_answers.long_tail(found, related)


def test_equal_counts_tell_nothing_and_small_cells_are_counted_as_untested():
    found, related = measured(lambda c, g: 4, per_cell=6)
    assert related["rho"].isna().all() and related["flags"].str.contains("the same in every condition").all()
    cells = found[found["over"] == "cell"]
    assert len(cells) == 18 and cells["p"].isna().all()
    said = open_answers.long_tail(found, related)
    assert "cannot be told" in said and "18 of 18 cells" in said


def test_an_arm_that_was_not_run_is_said_so():
    frame = predictions({"control": ARMS["control"]}, lambda name, images: np.full(len(images), 0.5), classes=CLASSES)
    found = long_tail.gains(blocks(frame), images_of(frame, lambda c, g: 2), SETTINGS["treatment"], SETTINGS["control"])
    assert (found["verdict"] == "not run").all() and open_answers.long_tail(
        found, long_tail.relation(found)
    ).startswith("Not run")
