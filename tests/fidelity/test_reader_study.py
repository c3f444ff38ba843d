"""The reader study: which images it shows, what its page gives away, and the analysis of planted readers."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import fleiss_kappa

from skinsyn.fidelity import reader_study
from skinsyn.stats import auc


def tables(real=60, made=90):
    images = pd.DataFrame({"image_id": [f"real_{i}" for i in range(real)], "condition": ["a", "b<i>"] * (real // 2)})
    images = images.assign(
        split=["train", "train", "test", "test"] * (real // 4), fst_group="I-II", unit="u", row=range(real)
    )
    images["cluster_id"] = [f"c{i}" for i in range(real)]
    train = images.loc[images["split"] == "train", "image_id"].tolist()
    rows = pd.DataFrame({"image_id": [f"made_{i}" for i in range(made)], "condition": ["a", "b<i>"] * (made // 2)})
    rows = rows.assign(
        method=["inpaint", "inpaint", "gan", "gan", "gan"] * (made // 5), generator="fine-tuned", flags=""
    )
    rows["parent"] = [train[i % len(train)] for i in range(made)]
    rows.loc[:4, "flags"] = "near-copy"
    return images, rows.assign(fst_group="I-II", unit="v", row=range(made))


def answered(key, right, readers=4, seed=0):
    """Readers who are right in a share of the images, with a realism that goes with their answer."""
    rng, parts = np.random.default_rng(seed), []
    for reader in range(readers):
        good = rng.random(len(key)) < right
        kind = np.where(good, key["kind"], np.where(key["kind"] == "real", "synthetic", "real"))
        realism = np.where(kind == "real", rng.integers(3, 6, len(key)), rng.integers(1, 4, len(key)))
        part = pd.DataFrame({"study": key["study"], "reader": f"reader {reader}", "item": key["item"], "kind": kind})
        parts.append(
            part.assign(
                condition=np.where(rng.random(len(key)) < 0.7, key["condition"], "cannot tell"), realism=realism
            )
        )
    return reader_study.Study(key, pd.concat(parts, ignore_index=True), [f"reader {r}" for r in range(readers)])


def the_key(number=24, seed=0):
    key = reader_study.choose(*tables(), number, seed)
    return key.assign(study=reader_study._name(key))


def test_half_is_real_and_held_out_and_none_is_flagged():
    images, synthetic = tables()
    key = the_key()
    assert key["kind"].value_counts().to_dict() == {"real": 12, "synthetic": 12} and key["item"].is_unique
    real = images.set_index("image_id").loc[key.loc[key["kind"] == "real", "image_id"]]
    assert set(real["split"]) == {"test"} and real["condition"].value_counts().tolist() == [6, 6]
    flags = synthetic.set_index("image_id").loc[key.loc[key["kind"] == "synthetic", "image_id"], "flags"]
    assert (flags == "").all() and key.groupby("kind")["method"].nunique().to_dict() == {"real": 1, "synthetic": 2}
    assert the_key().equals(key) and list(the_key(seed=1)["item"]) != list(key["item"])
    first = (key["kind"] == "real").to_numpy()
    assert 0 < first[:12].sum() < 12, "the order tells the kind"
    with pytest.raises(ValueError, match="100 real images"):
        reader_study.choose(images, synthetic, 200, 0)


def test_the_page_gives_nothing_away_and_escapes():
    key = the_key(8)
    pictures = [np.full((16, 16, 3), value, np.uint8) for value in range(8)]
    page = reader_study.page(key, pictures, note="<b>note</b>")
    assert not re.search(r"real_\d|made_\d|inpaint|gan\b", page), "an id or method stands in the page"
    assert "b<i>" not in page and "b&lt;i&gt;" in page and "&lt;b&gt;note" in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page) and page.count("data:image/webp") == 8


def test_known_answers_of_planted_readers():
    found = reader_study.analyse(answered(the_key(48), 0.9)).set_index("measure")
    assert found.loc["accuracy", "low"] < 0.9 < found.loc["accuracy", "high"] and found.loc["accuracy", "p"] < 0.01
    assert found.loc["auroc", "p"] < 0.01 and found.loc["condition, real", "estimate"] > 0.5
    blind = reader_study.analyse(answered(the_key(48), 0.5, seed=3)).set_index("measure")
    assert blind.loc["accuracy", "low"] < 0.5 < blind.loc["accuracy", "high"] and blind.loc["accuracy", "p"] > 0.05


def test_auroc_is_the_mean_of_the_readers_areas_with_their_variance():
    """Obuchowski and Rockette for one modality (Hillis 2014): SE² = (variance of the areas + R · Cov2) / R.

    That is of images without clusters; where synthetic images share sources, the interval is another one.
    """
    study = answered(the_key(48), 0.8)
    clustered = reader_study.analyse(study).set_index("measure").loc["auroc"]
    study = study._replace(key=study.key.assign(cluster_id=range(len(study.key))))
    truth = (study.key["kind"] == "real").astype(int)
    realism = np.stack([p["realism"] for _, p in study.answers.groupby("reader", sort=False)]).astype(float)
    areas, covariance = auc.delong(truth, realism)
    found = reader_study.analyse(study).set_index("measure").loc["auroc"]
    assert found["estimate"] == pytest.approx(areas.mean())
    shared = covariance[~np.eye(4, dtype=bool)].mean()
    total = areas.var(ddof=1) + max(4 * shared, 0)
    df = total**2 / (areas.var(ddof=1) ** 2 / 3)
    half = stats.t.ppf(0.975, df) * np.sqrt(total / 4)
    assert (found["low"], found["high"]) == pytest.approx((areas.mean() - half, areas.mean() + half))
    assert clustered["clusters"] < found["clusters"] and clustered["low"] != found["low"]


def test_agreement_is_fleiss_kappa():
    study = answered(the_key(), 0.8)
    said = np.stack([p["kind"] == "real" for _, p in study.answers.groupby("reader", sort=False)])
    expected = fleiss_kappa(np.stack([said.sum(0), (~said).sum(0)], axis=1))
    found = reader_study.agreement(study).set_index("question")
    assert found.loc["kind", "kappa"] == pytest.approx(expected)
    same = study._replace(answers=pd.concat([study.answers[:24], study.answers[:24].assign(reader="twin")]))
    assert reader_study.agreement(same)["kappa"].tolist() == pytest.approx([1, 1, 1])
    one = study._replace(answers=study.answers[:24])
    assert reader_study.agreement(one)["kappa"].isna().all()
    assert "one run only" in reader_study.analyse(one)["flags"].iloc[0]


def test_answers_are_read_back_and_bad_ones_refused(tmp_path):
    study = answered(the_key(), 0.8, readers=2)
    study.key.to_csv(tmp_path / "key.csv", index=False)
    folder = tmp_path / "answers"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match="no CSV"):
        reader_study.read(tmp_path / "key.csv", folder)
    for name, part in study.answers.groupby("reader"):
        part.sample(frac=1, random_state=0).to_csv(folder / f"{name}.csv", index=False)
    again = reader_study.read(tmp_path / "key.csv", folder)
    assert reader_study.analyse(again).equals(reader_study.analyse(study))
    bad = study.answers[:24]
    for change, says in (
        (bad.assign(study="other"), "answers to the study other"),
        (bad[:20], "20 of 24 items"),
        (bad.assign(realism=6), "line 2: .*realism '6'"),
        (bad.drop(columns="kind"), "no column 'kind'"),
        (bad.assign(reader="reader 1"), "two files of the reader 'reader 1'"),
    ):
        change.to_csv(folder / "reader 0.csv", index=False)
        with pytest.raises(ValueError, match=says):
            reader_study.read(tmp_path / "key.csv", folder)
