"""Shares of variance: mean squares of anova_lm, the two-way table of the primary test, recovery, coverage, layouts."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from skinsyn.stats import mrmc, variance_shares
from skinsyn.stats.mean_squares import mean_squares
from skinsyn.stats.variance_shares import layout_of, shares

SD = {"generator": 0.05, "subset": 0.03, "generator × subset": 0.02, "seed": 0.04, "images": 0.3, "residual": 0.3}


def models(generators=3, subsets=3, seeds=2):
    rows = [(g, s, k) for g in range(generators) for s in range(subsets) for k in range(seeds)]
    return pd.DataFrame(rows, columns=["generator", "subset", "seed"])


def answers(rng, images=100, generators=3, subsets=3, seeds=2, sd=SD):
    """(models, images) normal values with known standard deviations of every source."""
    normal, shape = rng.standard_normal, (generators, subsets, seeds, images)
    value = sd["generator"] * normal((generators, 1, 1, 1)) + sd["subset"] * normal((1, subsets, 1, 1))
    value = value + sd["generator × subset"] * normal((generators, subsets, 1, 1)) + sd["images"] * normal(images)
    value = value + sd["seed"] * normal((generators, subsets, seeds, 1)) + sd["residual"] * normal(shape)
    return value.reshape(-1, images)


def truth(images=100, sd=SD):
    parts = [sd[name] ** 2 for name in ("generator", "subset", "generator × subset", "seed")]
    return np.array([*parts, (sd["images"] ** 2 + sd["residual"] ** 2) / images])


def test_mean_squares_are_those_of_anova_lm():
    values = answers(np.random.default_rng(1), images=5)
    long = pd.DataFrame(values).assign(**models().astype(str)).melt(["generator", "subset", "seed"], var_name="image")
    terms = ["C(generator)", "C(subset)", "C(generator):C(subset)", "C(generator):C(subset):C(seed)", "C(image)"]
    terms += ["C(generator):C(image)", "C(subset):C(image)", "C(generator):C(subset):C(image)"]
    table = anova_lm(ols(f"value ~ {' + '.join(terms)}", long).fit()).loc[[*terms, "Residual"]]
    factors = ("generator", "subset", "seed", "images")
    sets = [factors[:1], factors[1:2], factors[:2], factors[:3], factors[3:]]
    sets += [(*one, "images") for one in sets[:4]]
    square, df, expected = variance_shares._mean_squares(values.reshape(3, 3, 2, 5), factors, sets)
    assert square == pytest.approx(table["mean_sq"].to_numpy(), rel=1e-9) and df.tolist() == table["df"].tolist()
    # E(MS) of the generator: every component whose term holds it, by the number of values per level of that term
    assert expected[0].tolist() == [3 * 2 * 5, 0, 2 * 5, 5, 0, 3 * 2, 0, 2, 1]


def test_runs_alone_are_the_two_way_table_of_the_primary_test():
    """One factor: components from MS(R), MS(C), MS(RC); their sum by runs is what paired_gain's SE² is made of."""
    values = np.random.default_rng(2).standard_normal((6, 40)) + np.random.default_rng(3).standard_normal((6, 1))
    between, clusters, residual = mean_squares(values)
    found = variance_shares.of_runs(values, np.arange(40), shared_generators=False)
    assert found["part"].tolist() == ["generator, subset and seed", "images"]
    expected = [(between - residual) / 40, (max((clusters - residual) / 6, 0) + residual) / 40]
    assert found["variance"].to_numpy() / 1e4 == pytest.approx(expected)
    se = mrmc.paired_gain([values]).se
    assert se**2 == pytest.approx(expected[0] / 6 + (max(clusters - residual, 0) + residual) / 6 / 40, rel=1e-9)


def test_what_is_not_separable_is_said():
    runs = np.arange(4)
    own = layout_of(pd.DataFrame({"generator": runs, "subset": runs, "seed": runs}))
    assert (
        list(own.terms) == ["generator, subset and seed"] and own.flags == "not separable: generator, subset and seed"
    )
    shared = layout_of(pd.DataFrame({"generator": 0, "subset": runs, "seed": runs}))
    assert shared.flags == "not separable: subset and seed; not varied: generator"
    nested = layout_of(pd.DataFrame({"generator": runs // 2, "subset": runs // 2, "seed": runs}))
    assert list(nested.terms) == ["generator and subset", "seed"] and nested.levels == (2, 2)
    assert nested.flags == "not separable: generator and subset"
    assert layout_of(models()).flags == "" and list(layout_of(models()).terms)[2] == "generator × subset"


def test_the_order_of_models_and_copies_of_images_do_not_matter():
    rng = np.random.default_rng(4)
    values, order = answers(rng), rng.permutation(18)
    one = shares(values, np.arange(100), models())
    assert shares(values[order], np.arange(100), models().iloc[order])["variance"].tolist() == one["variance"].tolist()
    twice = shares(np.repeat(values, 2, axis=1), np.repeat(np.arange(100), 2), models())
    assert twice["variance"].to_numpy() == pytest.approx(one["variance"].to_numpy())
    assert one["share"].sum() == pytest.approx(1) and (one["low"] <= one["high"]).all()


def test_components_are_found_again():
    rng = np.random.default_rng(1000)
    found = [shares(answers(rng, generators=4, subsets=4), np.arange(100), models(4, 4))["variance"] for _ in range(60)]
    assert np.mean(found, axis=0) == pytest.approx(1e4 * truth(), rel=0.35, abs=1.5)


def test_what_is_refused_or_not_estimable():
    with pytest.raises(ValueError, match="missing: seed"):
        layout_of(models().drop(columns="seed"))
    with pytest.raises(ValueError, match="unbalanced"):
        layout_of(models().iloc[1:])
    with pytest.raises(ValueError, match="18 models"):
        shares(np.zeros((2, 3)), list("abc"), models())
    assert "one cluster" in shares(np.zeros((18, 3)), list("aaa"), models())["flags"].iloc[0]
    assert "one model" in shares(np.zeros((1, 3)), list("abc"), models(1, 1, 1))["flags"].iloc[0]
    same = shares(np.ones((18, 3)), list("abc"), models())
    assert same["share"].isna().all() and same["flags"].str.contains("every answer is the same").all()


@pytest.mark.slow
def test_intervals_of_the_shares_cover():
    rng, covered = np.random.default_rng(1000), []
    for number in range(300):
        table = shares(answers(rng), np.arange(100), models(), seed=number)
        share = truth() / truth().sum()
        covered.append((table["low"] <= share) & (share <= table["high"]))
    assert (np.mean(covered, axis=0) >= 0.88).all()
