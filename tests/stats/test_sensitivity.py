"""Sensitivity analysis: variants agree with the tests they name; what is absent is 'not run'."""

import numpy as np
import pandas as pd
import pytest
from declarations import CONTROL, SYNTHETIC, declare
from simulated import predictions

from skinsyn.stats import contrasts, sensitivity
from skinsyn.stats.predictions import add_facts, blocks

TABLE = predictions(ratios=(0, 10))


def facts():
    images = TABLE.drop_duplicates("image_id")[["image_id", "fst"]].reset_index(drop=True)
    centaur = images["fst"].where(images.index % 4 != 0, -1)
    return images.assign(
        fst_scale=images["fst"], fst_centaur=centaur, label_flag=np.where(images.index % 6 == 0, "doubtful", "")
    )


def test_variants():
    prepared = blocks(add_facts(TABLE, facts()))
    variants = [
        {"id": "as declared"},
        {"id": "the same?", "test": "equivalence", "margin": 0.9},
        {"id": "every image the same", "average": "micro", "count": "images"},
        {"id": "labels not in doubt", "where": {"label_flag": ""}},
        {"id": "by Centaur", "average": "micro", "by": {"fst_group_centaur": ["I-II", "V-VI"]}},
        {"id": "annotators agree", "where": {"fst_group_agreed": ["I-II", "III-IV", "V-VI"]}},
        {"id": "from the base", "estimand": "base - control"},
        {"id": "another run", "run": "other"},
        {"id": "last epoch", "run": "demo-last"},
    ]
    runs = {"": prepared, "other": blocks(predictions(seed=1, ratios=(0, 10)))}
    base = {"base": {"like": "synthetic", "generator": "base"}}
    declared = declare({"id": "primary"}, arms=base, sensitivity=variants)
    table = sensitivity.analyse(runs, declared, draws=300).set_index("id")
    expected = contrasts.gain(prepared, SYNTHETIC, CONTROL)
    assert table.loc["as declared", "estimate"] == pytest.approx(100 * expected.estimate)
    row = table.loc["as declared"]
    assert row["low_bootstrap"] < row["estimate"] < row["high_bootstrap"]
    assert table.loc["the same?", "verdict"] == "equivalent" and table.loc["the same?", "estimate"] == row["estimate"]
    assert table.loc["labels not in doubt", "images"] == 90
    assert table.loc["annotators agree", "images"] == 81 and table.loc["by Centaur, V-VI", "images"] < 36
    assert table.loc["another run", "estimate"] != row["estimate"] and table.loc["another run", "run"] == "other"
    bare = sensitivity.analyse({"": blocks(TABLE)}, declare({"id": "primary"}, sensitivity=variants[3:4]))
    assert bare["flags"].tolist() == ["these predictions do not know the label_flag of an image"]
    for name in ("from the base", "last epoch"):
        assert table.loc[name, "verdict"] == "not run" and table.loc[name, "flags"]
    with pytest.raises(ValueError, match="mine.yml: hypothesis 'x': unknown key 'averege'; did you mean 'average'"):
        declare({"id": "primary"}, sensitivity=[{"id": "x", "averege": "micro"}])


def test_the_bootstrap_agrees_with_the_test():
    """Two ways to the same spread: the interval's width within a third."""
    table = sensitivity.analyse({"": blocks(TABLE)}, declare({"id": "primary"}), draws=2000)
    assert table["id"].tolist() == ["as declared"]
    width = (table["high_bootstrap"] - table["low_bootstrap"]) / (table["high"] - table["low"])
    assert 0.67 < width[0] < 1.33


def test_facts_are_refused_where_images_are_missing():
    with pytest.raises(
        ValueError, match="1 images of the predictions are not in the table of images, first 'image0000'"
    ):
        add_facts(TABLE, facts().iloc[1:])
    assert isinstance(add_facts(TABLE, facts()[["image_id"]]), pd.DataFrame)
