"""Distances beside their floor: equal numbers, a floor that an honest model reaches, groups too small to measure."""

import numpy as np
import pandas as pd

from skinsyn.fidelity import floor


def world(seed=0, d=6, n=40):
    rng = np.random.default_rng(seed)
    images = pd.DataFrame(
        {"split": np.repeat(["train", "validation", "test"], n), "condition": ["a", "b"] * (3 * n // 2)}
    )
    rows = pd.DataFrame({"method": ["honest"] * n + ["far"] * n, "condition": ["a", "b"] * n})
    rows = rows.assign(generator="g", scope="s")
    shift = np.where(rows["method"] == "far", 3.0, 0.0)[:, None]
    return rows, rng.standard_normal((2 * n, d)) + shift, images, rng.standard_normal((3 * n, d))


def test_an_honest_model_stands_at_its_floor_and_a_far_one_does_not():
    found = floor.by_group(*world(), k=3, draws=99, repeats=8).set_index("method")
    honest, far = found.loc["honest"], found.loc["far"]
    assert (found["images"] == 40).all() and (found["flags"] == "").all()
    assert abs(honest["kid"] - honest["floor_kid"]) < 0.2 * far["kid"] and honest["p"] > 0.05 and far["p"] == 0.01
    assert far["precision"] < 0.2 < honest["precision"] and far["frechet"] > 3 * far["floor_frechet"]
    assert np.isclose(honest["floor_vendi"], far["floor_vendi"], rtol=0.1)


def test_groups_are_equal_in_number_and_small_ones_are_flagged():
    rows, synthetic, images, real = world()
    keep = (rows["condition"] == "a") | (rows.index % 8 == 1)
    rows, synthetic = rows[keep].reset_index(drop=True), synthetic[keep]
    found = floor.by_group(rows, synthetic, images, real, ["condition"], k=3, draws=9, repeats=2, min_images=8)
    found = found.set_index(["method", "condition"])
    assert found.loc[("far", "a"), "images"] == 20 and found.loc[("far", "b"), "images"] == 5
    assert (
        "fewer than 8" in found.loc[("far", "b"), "flags"]
        and found.loc[("far", "b"), list(floor.MEASURES)].isna().all()
    )


def test_the_same_seed_gives_the_same_table():
    one, other = (floor.by_group(*world(), k=3, draws=9, repeats=2) for _ in range(2))
    assert one.equals(other)
