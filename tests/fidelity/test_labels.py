"""Label fidelity and the classification accuracy score on planted embeddings."""

import numpy as np
import pandas as pd
import pytest

from skinsyn.fidelity import labels


def world(seed=0, d=10, per=20):
    rng = np.random.default_rng(seed)
    centres = dict(zip("abc", rng.standard_normal((3, d)) * 3, strict=True))
    images = pd.DataFrame({"condition": list("abc") * 2 * per, "split": ["train"] * 3 * per + ["test"] * 3 * per})
    images["cluster_id"] = [f"c{i}" for i in images.index]
    at = lambda names, noise: np.stack([centres[n] for n in names]) + noise * rng.standard_normal((len(names), d))  # noqa: E731
    rows = pd.DataFrame({"condition": list("abc") * per, "method": "good", "generator": "g", "scope": "s"})
    wrong = rows.assign(method="wrong")
    rows = pd.concat([rows, wrong], ignore_index=True)
    shown = [*rows["condition"][: 3 * per], *rows["condition"][3 * per :].map({"a": "b", "b": "c", "c": "a"})]
    return rows, at(shown, 1.0), images, at(images["condition"], 1.0)


def test_the_score_is_high_for_right_labels_and_low_for_wrong_ones():
    found = labels.classification_accuracy(*world()).set_index("method")
    assert found.loc["good", "accuracy"] > 0.9 and found.loc["wrong", "accuracy"] < 0.1
    assert (found["real"] > 0.9).all() and found["trained_on"].tolist() == [60, 60]
    assert (found["low"] <= found["accuracy"]).all() and (found["accuracy"] <= found["high"]).all()
    again = labels.classification_accuracy(*world())
    assert again.equals(found.reset_index()[again.columns])


def test_both_learn_from_as_many_images_of_each_condition():
    rows, synthetic, images, real = world()
    few = rows.index[(rows["condition"] != "c") | (rows.index < 9)]
    found = labels.classification_accuracy(rows.loc[few].reset_index(drop=True), synthetic[few], images, real)
    good = found.set_index("method").loc["good"]
    assert good["trained_on"] == 20 + 20 + 3


def test_a_single_condition_teaches_nothing():
    rows, synthetic, images, real = world()
    one = rows.index[rows["condition"] == "a"]
    found = labels.classification_accuracy(rows.loc[one].reset_index(drop=True), synthetic[one], images, real)
    assert found["accuracy"].isna().all()


def test_shown_counts_by_any_columns():
    rows = world()[0].assign(fst_group="I-II")
    right = (rows["method"] == "good").to_numpy()
    found = labels.shown(rows, right, np.arange(len(rows)), ["method"]).set_index("method")
    assert found["recognised"].to_dict() == {"good": 1.0, "wrong": 0.0} and found["images"].tolist() == [60, 60]
    assert found.loc["good", "low"] < 1 and found.loc["good", "high"] == pytest.approx(1)
    assert len(labels.shown(rows, right, np.arange(len(rows)), ["method", "condition", "fst_group"])) == 6


def test_recognition_takes_sources_as_clusters_and_says_the_same_in_03_and_06():
    """Ten children of a source that agree are one observation; further tables leave the first as it is."""
    rows, synthetic, images, real = world()
    images["image_id"] = [f"r{i}" for i in images.index]
    images = images.assign(fst_group="I-II")
    source = np.repeat(np.arange(12), 10) % 60
    rows = rows.assign(parent=images["image_id"].to_numpy()[source], flags="", fst_group="I-II")
    rows.loc[0, "flags"] = "nan"
    views = np.stack([real[:60], real[:60] + 0.1])
    in_03 = labels.recognition(rows, synthetic, images, real, views)
    in_06 = labels.recognition(rows, synthetic, images, real, views, [[], ["condition"], ["fst_group"]])
    whole = in_06[(in_06["condition"] == "all") & (in_06["fst_group"] == "all")]
    pd.testing.assert_frame_equal(whole[in_03.columns].reset_index(drop=True), in_03)
    good = in_03.set_index("method").loc["good"]
    assert good["images"] == 59 and good["clusters"] == 6 and good["recognised"] > 0.9
    assert in_03.set_index("method").loc["real", ["images", "clusters"]].tolist() == [60, 60]
    clustered = labels.clustered.share(np.ones(59, bool), source[1:60])
    if good["recognised"] == 1:
        assert (good["low"], good["high"]) == pytest.approx((clustered.low, clustered.high))
    assert good["high"] - good["low"] > 0.2
