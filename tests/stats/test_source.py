"""The source held fixed: a difference of sources vanishes, uneven shares are flagged, one source is one row."""

import numpy as np
import pandas as pd
import pytest
from simulated import predictions

from skinsyn.stats import contrasts, source
from skinsyn.stats.predictions import blocks

SYNTHETIC = {"n": 8, "ratio": 10, "transforms": True}
CONTROL = {"n": 8, "ratio": 0, "transforms": True}
TABLE = predictions(ratios=(0, 10), per_cell=8)


def from_two_sites(share: dict[str, float]) -> pd.DataFrame:
    """The predictions with a site per patient, whose share differs by skin type."""
    images = TABLE.drop_duplicates("image_id")
    turn = images.groupby("fst_group")["cluster_id"].transform(lambda ids: pd.factorize(ids)[0] % 10 / 10)
    site = np.where(turn < images["fst_group"].map(share), "atlas", "other")
    return TABLE.assign(site=TABLE["image_id"].map(dict(zip(images["image_id"], site, strict=True))))


def test_one_source_is_one_row_per_task():
    table = source.gains(blocks(TABLE), SYNTHETIC, CONTROL)
    assert table["task"].tolist() == ["condition", "malignancy"] and table["source"].unique().tolist() == ["phantom"]
    assert table["flags"].str.startswith("one source only").all()


def test_standardised_gain_is_the_weighted_sum_of_those_within_sources():
    prepared = blocks(from_two_sites({"I-II": 0.2, "III-IV": 0.5, "V-VI": 0.7}))
    table = source.gains(prepared, SYNTHETIC, CONTROL, ["condition"]).set_index(["group", "source"])
    images = prepared["condition"].images
    mix = images["site"].value_counts(normalize=True)
    for group in ("I-II", "V-VI"):
        within = [table.loc[(group, site), "estimate"] for site in mix.index]
        assert table.loc[(group, "standardised"), "estimate"] == pytest.approx(float(mix.to_numpy() @ within))
        arms = [{**arm, "task": "condition"} for arm in (SYNTHETIC, CONTROL)]
        crude, row = contrasts.gain(prepared, *arms, "micro", {"fst_group": group}), table.loc[(group, "crude")]
        ends = [100 * crude.estimate, 100 * crude.low, 100 * crude.high]
        assert row[["estimate", "low", "high"]].tolist() == pytest.approx(ends)
    difference = table.loc[("V-VI minus I-II", "standardised"), "estimate"]
    ends = [table.loc[(group, "standardised"), "estimate"] for group in ("V-VI", "I-II")]
    assert difference == pytest.approx(ends[0] - ends[1])
    swapped = source.gains(prepared, CONTROL, SYNTHETIC, ["condition"])
    assert swapped["estimate"].to_numpy() == pytest.approx(-table["estimate"].to_numpy())


def test_a_difference_of_sources_is_not_one_of_skin_types():
    """Gain .5 in one source and 0 in the other, whatever the skin type; the types come from different sources."""
    rng = np.random.default_rng(1000)
    images = pd.DataFrame({"fst_group": np.repeat(["I-II", "V-VI"], 300), "cluster_id": np.arange(600)})
    images["site"] = np.where(rng.random(600) < np.repeat([0.15, 0.85], 300), "atlas", "other")
    gain = (rng.random((6, 600)) < np.where(images["site"] == "atlas", 0.5, 0.0)).astype(float)
    rows = pd.DataFrame(source._rows(gain, images, "condition", 0.95)).set_index(["group", "source"])
    crude, fixed = (rows.loc[("V-VI minus I-II", name)] for name in ("crude", "standardised"))
    assert crude["low"] > 20 and fixed["low"] < 0 < fixed["high"] and abs(fixed["estimate"]) < 6


def test_shares_that_differ_by_more_than_a_tenth_are_flagged():
    images = from_two_sites({"I-II": 0.2, "III-IV": 0.5, "V-VI": 0.7}).drop_duplicates("image_id")
    table = source.shares(images)
    assert table["flags"].str.startswith("the share differs by 0.5").all()
    assert table.groupby("group")["share"].sum().tolist() == pytest.approx([1, 1, 1])
    even = source.shares(from_two_sites(dict.fromkeys(("I-II", "III-IV", "V-VI"), 0.5)).drop_duplicates("image_id"))
    assert (even["flags"] == "").all()


def test_what_cannot_be_held_fixed_is_said():
    prepared = blocks(from_two_sites({"I-II": 0.0, "III-IV": 0.5, "V-VI": 0.5}))
    table = source.gains(prepared, SYNTHETIC, CONTROL, ["condition"])
    fixed = table[table["source"] == "standardised"]
    assert fixed["flags"].str.contains("without atlas: fewer than two clusters in a group").all()
    apart = blocks(from_two_sites({"I-II": 0.0, "III-IV": 1.0, "V-VI": 1.0}))
    table = source.gains(apart, SYNTHETIC, CONTROL, ["condition"])
    assert table.loc[table["source"] == "standardised", "flags"].str.startswith("not estimable").all()
    unknown = source.gains(blocks(TABLE.assign(fst_group="unknown")), SYNTHETIC, CONTROL, ["condition"])
    assert unknown["flags"].tolist() == ["not estimable: skin type is unknown for all images"]
    assert source.gains(prepared, {**SYNTHETIC, "n": 5}, CONTROL)["flags"].str.startswith("not run").all()
