"""Bounds for missing skin types: PAD-UFES-20's missingness, all assignments of a small example, coverage."""

import itertools

import numpy as np
import pandas as pd
import pytest
from simulated import predictions
from typed import GROUPS, gains, truth

from skinsyn.datasets import pad_ufes_20, table
from skinsyn.run import paths
from skinsyn.stats import missing_skin_type, skin_types
from skinsyn.stats.predictions import blocks

SYNTHETIC = {"n": 8, "ratio": 10, "transforms": True}
CONTROL = {"n": 8, "ratio": 0, "transforms": True}


def test_in_pad_ufes_20_missingness_depends_on_the_diagnosis():
    try:
        rows = pad_ufes_20.rows(paths.data_dir("pad_ufes_20"))
    except FileNotFoundError as error:
        pytest.skip(f"PAD-UFES-20 is not here: {error}")
    found = missing_skin_type.missingness(rows.assign(fst_group=table.fst_group(rows["fst"]))).set_index("condition")
    assert found.loc["nevus", ["images", "unknown"]].tolist() == [142, 79]
    assert found.loc["seborrheic keratosis", ["images", "unknown"]].tolist() == [90, 70]
    none = ["basal cell carcinoma", "melanoma", "squamous cell carcinoma"]
    assert found.loc[none, "unknown"].tolist() == [0, 0, 0]
    assert found.loc["all", "unknown"] == 185 and found["flags"].str.contains("depends on the condition").all()


def test_bounds_are_the_extremes_over_all_ways_to_give_the_unknown():
    rng = np.random.default_rng(1000)
    values = rng.integers(-1, 2, (4, 14)).astype(float)
    ids = np.array(["I-II"] * 3 + ["V-VI"] * 3 + ["unknown"] * 8)
    clusters = np.array([*range(6), 6, 6, 7, 8, 9, 10, 11, 11])  # unknown patients with two photographs are given whole

    def mean(group: str, given: tuple[int, ...]) -> float:
        chosen = (ids == group) | np.isin(clusters, given)
        return float(np.mean([values[:, chosen & (clusters == k)].mean() for k in np.unique(clusters[chosen])]))

    ways = [given for size in range(7) for given in itertools.combinations(range(6, 12), size)]
    for group in ("I-II", "V-VI"):
        every = [mean(group, given) for given in ways]
        found = missing_skin_type.bounds(values, ids, clusters, {group: 1.0})
        assert (found.lower, found.upper) == pytest.approx((min(every), max(every)))
        assert found.low < found.lower and found.high > found.upper
    apart = [mean("V-VI", a) - mean("I-II", b) for a in ways for b in ways if not set(a) & set(b)]
    gap = missing_skin_type.bounds(values, ids, clusters, {"V-VI": 1.0, "I-II": -1.0})
    assert gap.lower <= min(apart) + 1e-12 and gap.upper >= max(apart) - 1e-12


def test_without_missing_types_the_bounds_are_the_estimate_and_its_interval():
    values, group, patient, _ = gains(np.random.default_rng(1001), 6, 90)
    ids = np.array(GROUPS)[group]
    alone = skin_types.mean_of(values, {"V-VI": np.flatnonzero(ids == "V-VI")}, patient.astype(str), {"V-VI": 1}, 0.95)
    found = missing_skin_type.bounds(values, ids, patient, {"V-VI": 1.0})
    assert found[:4] == pytest.approx((alone.estimate, alone.estimate, alone.low, alone.high))


def test_the_constant_of_imbens_and_manski_goes_from_two_sided_to_one_sided():
    reach = [missing_skin_type._imbens_manski(width, 1.0, np.inf, 0.95) for width in (0.0, 1.0, 10.0)]
    assert reach[0] == pytest.approx(1.96, abs=1e-3) and reach[2] == pytest.approx(1.645, abs=1e-3)
    assert reach[1] == pytest.approx(1.70, abs=0.05)


def test_every_row_of_the_table_has_bounds_or_a_reason():
    frame = predictions(ratios=(0, 10))
    images = frame.drop_duplicates("image_id")["image_id"]
    hidden = set(images[::3])
    frame["fst_group"] = frame["fst_group"].where(~frame["image_id"].isin(hidden), "unknown")
    found = missing_skin_type.table(blocks(frame), SYNTHETIC, CONTROL, ["condition"])
    assert len(found) == 3 * 5 and (found["unknown"] == len(hidden)).all()
    assert (found["lower"] <= found["estimate"] + 1e-9).all() and (found["estimate"] <= found["upper"] + 1e-9).all()
    accuracy = found[found["quantity"].str.startswith("accuracy") & ~found["group"].str.contains("minus")]
    assert accuracy[["low", "high"]].stack().between(0, 100).all()
    none = missing_skin_type.table(blocks(frame.assign(fst_group="unknown")), SYNTHETIC, CONTROL, ["condition"])
    assert none["flags"].tolist() == ["not estimable: skin type is unknown for all images"]
    absent = missing_skin_type.table(blocks(frame), {**SYNTHETIC, "n": 5}, CONTROL, ["condition"])
    assert absent["flags"].str.startswith("not run").all()


def covered(sets: int, patients: int, runs: int = 8) -> pd.DataFrame:
    """Whether each interval covers the truth where types are missing for those whom synthetic images help most."""
    real, rows = truth(), []
    for number in range(sets):
        rng = np.random.default_rng(1000 + number)
        values, group, patient, _ = gains(rng, runs, patients)
        helped = values.mean(0).reshape(patients, -1).mean(1)[patient] > 0.1
        ids = np.where(rng.random(patients)[patient] < np.where(helped, 0.8, 0.05), "unknown", np.array(GROUPS)[group])
        row = {}
        for name, weights in skin_types.contrasts_of(GROUPS).items():
            known = {group: np.flatnonzero(ids == group) for group in weights}
            naive = skin_types.mean_of(values, known, patient.astype(str), weights, 0.95)
            found = missing_skin_type.bounds(values, ids, patient, weights)
            row[name] = found.low <= real[name] <= found.high
            row[f"{name}, known types only"] = naive.low <= real[name] <= naive.high
        rows.append(row)
    return pd.DataFrame(rows).mean()


def test_the_bounds_contain_the_truth_where_known_types_mislead():
    share = covered(12, patients=120)
    assert (share[[name for name in share.index if "known" not in name]] >= 0.9).all()
    assert share["III-IV, known types only"] < 0.7


@pytest.mark.slow
def test_the_bounds_contain_the_truth():
    share = covered(200, patients=150)
    assert (share[[name for name in share.index if "known" not in name]] >= 0.95).all()
