"""The primary test: published answers, properties, what is refused, and its size and coverage by simulation."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import answers, expected_gain, mean_for
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from skinsyn.run import paths
from skinsyn.stats import auc, mean_squares, mrmc


def vandyke() -> pd.DataFrame:
    try:
        return pd.read_csv(paths.data_dir("oracles") / "vandyke.csv")
    except FileNotFoundError as absent:
        pytest.skip(f"needs vandyke.csv: {absent}")


def sensitivity() -> np.ndarray:
    """(readers, diseased cases): treatment 1 minus treatment 2 of a rating >= 3."""
    table = vandyke().query("truth == 1").assign(hit=lambda t: (t["rating"] >= 3) * 1.0)
    table = table.pivot_table(index=["treatment", "reader"], columns="case", values="hit")
    return table.loc[1].to_numpy() - table.loc[2].to_numpy()


def test_published_sensitivity_of_vandyke():
    """With df="hillis", as it was published; the default keeps estimate and SE."""
    gain = mrmc.paired_gain([sensitivity()], df="hillis")
    assert gain.estimate == pytest.approx(-0.09777778, abs=5e-9)
    assert gain.se == pytest.approx(0.03780451, abs=5e-9)
    assert gain.df == pytest.approx(15.71732, abs=5e-6)
    assert gain.p == pytest.approx(0.02008822, abs=5e-9)
    assert (gain.low, gain.high) == (pytest.approx(-0.1780371, abs=5e-8), pytest.approx(-0.0175185, abs=5e-8))
    assert (gain.runs, gain.clusters, gain.flags) == (5, 45, ())


def anova(table: np.ndarray) -> np.ndarray:
    """Mean squares of readers, cases and residual by statsmodels."""
    long = pd.DataFrame(table).stack().rename_axis(["reader", "case"]).rename("d").reset_index()
    return anova_lm(ols("d ~ C(reader) + C(case)", long).fit())["mean_sq"].to_numpy()


def test_mean_squares_agree_with_anova_lm():
    assert np.allclose(mean_squares.mean_squares(sensitivity()), anova(sensitivity()), rtol=0, atol=1e-10)


def test_vandyke_with_all_mean_squares_in_the_denominator():
    """Recomputed from statsmodels' ANOVA table: (MSR + MSC - MSRC)^2 / (MSR^2/4 + MSC^2/44 + MSRC^2/176), the
    degrees of freedom of Dorfman, Berbaum and Metz 1992 before Hillis 2007."""
    msr, msc, msrc = anova(sensitivity())
    df = (msr + msc - msrc) ** 2 / (msr**2 / 4 + msc**2 / 44 + msrc**2 / 176)
    se = np.sqrt((msr + msc - msrc) / (5 * 45))
    assert df == pytest.approx(12.829387, abs=5e-7)
    gain, published = mrmc.paired_gain([sensitivity()]), mrmc.paired_gain([sensitivity()], df="hillis")
    assert gain.df == pytest.approx(df, rel=1e-10) and gain.se == pytest.approx(se, rel=1e-10)
    assert (gain.estimate, gain.se, gain.statistic) == published[:2] + published[3:4]
    assert gain.p == pytest.approx(2 * scipy.stats.t.sf(abs(-0.09777778 / se), df), rel=1e-6)
    assert gain.low == pytest.approx(-0.09777778 - scipy.stats.t.ppf(0.975, df) * se, abs=5e-9)


def test_degrees_of_freedom_know_of_clusters():
    """A cell of 9 clusters never has more than the least and the sum of its mean squares' own."""
    rng = np.random.default_rng(8)
    for runs in (5, 20):
        tables = rng.integers(-1, 2, (2000, runs, 9)).astype(float)
        tables[:1000] += rng.integers(-1, 2, (1000, 1, 9))
        df, before = mrmc.paired_gains([tables], [1.0]).df, mrmc.paired_gains([tables], [1.0], df="hillis").df
        assert df.min() >= min(runs - 1, 8) and df.max() <= runs - 1 + 8 and before.max() > 1000
    with pytest.raises(ValueError, match="unknown rule .* satterthwaite, hillis"):
        mrmc.paired_gain(tables[0], df="welch")


def test_groups_of_weight_zero_do_not_bound_the_degrees_of_freedom():
    rng = np.random.default_rng(9)
    table, other = rng.normal(size=(9, 40)), rng.normal(size=(9, 3))
    assert np.allclose(mrmc.paired_gain([table, other], [1.0, 0.0])[:7], mrmc.paired_gain([table])[:7])


def test_auroc_of_vandyke():
    """Published with jackknife covariances (MRMCaov): SE .02074862, df 15.25967, p .0517; DeLong's come near."""
    table = vandyke()
    scores = table.pivot_table(index=["treatment", "reader"], columns="case", values="rating")
    truth = table.drop_duplicates("case").set_index("case")["truth"].loc[scores.columns].to_numpy()
    cube = scores.to_numpy().reshape(2, 5, -1)
    published = mrmc.obuchowski_rockette(truth, cube, covariance="jackknife")
    assert published.estimate == pytest.approx(-0.04380032, abs=5e-9)
    assert published.se == pytest.approx(0.02074862, abs=5e-9) and published.df == pytest.approx(15.25967, abs=5e-6)
    assert published.p == pytest.approx(0.0517, abs=5e-5)
    gain, swapped = mrmc.obuchowski_rockette(truth, cube), mrmc.obuchowski_rockette(truth, cube[::-1])
    assert gain.se == pytest.approx(published.se, rel=0.01) and gain.df == pytest.approx(published.df, rel=0.02)
    assert swapped.estimate == pytest.approx(-gain.estimate) and swapped.p == pytest.approx(gain.p)
    assert "one run" in mrmc.obuchowski_rockette(truth, cube[:, :1]).flags[0]
    assert "zero" in mrmc.obuchowski_rockette(truth, cube[[0, 0]]).flags[0]
    with pytest.raises(ValueError, match="2 treatments"):
        mrmc.obuchowski_rockette(truth, cube[0])


def test_delong_is_the_covariance_of_placements():
    """Against the definition, pair by pair, with ties."""
    rng = np.random.default_rng(3)
    y, scores = np.repeat([1, 0], [7, 9]), rng.integers(0, 5, (2, 16)).astype(float)
    kernel = (scores[:, y == 1, None] > scores[:, None, y == 0]) + 0.5 * (
        scores[:, y == 1, None] == scores[:, None, y == 0]
    )
    area, covariance = auc.delong(y, scores)
    assert np.allclose(area, kernel.mean((1, 2)))
    assert np.allclose(covariance, np.cov(kernel.mean(2)) / 7 + np.cov(kernel.mean(1)) / 9)


@given(seed=st.integers(0, 10**6), runs=st.integers(2, 5), sizes=st.lists(st.integers(2, 12), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_swapping_arms_negates(seed, runs, sizes):
    rng = np.random.default_rng(seed)
    tables = [rng.integers(-1, 2, (runs, k)).astype(float) for k in sizes]
    one, other = mrmc.paired_gain(tables), mrmc.paired_gain([-t for t in tables])
    assert one.estimate == pytest.approx(-other.estimate)
    assert one.flags == other.flags
    if one.estimable:
        assert one.p == pytest.approx(other.p) and one.low == pytest.approx(-other.high)
        assert one.low <= one.estimate <= one.high and 0 <= one.p <= 1


@given(seed=st.integers(0, 10**6), copies=st.integers(2, 4), which=st.sampled_from(["every", "one"]))
@settings(max_examples=30, deadline=None)
def test_repeating_the_images_of_a_cluster_changes_nothing(seed, copies, which):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2, (2, 4, 20)).astype(float)
    clusters, groups = np.repeat(np.arange(10), 2), rng.permutation(np.repeat([0, 1], 10))
    images = np.arange(20)
    extra = images if which == "every" else images[clusters == 3]
    picked = np.concatenate([images, np.tile(extra, copies - 1)])
    plain = mrmc.gain_from_images(a, b, clusters, groups)
    repeated = mrmc.gain_from_images(a[:, picked], b[:, picked], clusters[picked], groups[picked])
    assert np.allclose(plain[:7], repeated[:7], equal_nan=True) and plain.flags == repeated.flags


def test_counting_images_weighs_clusters_by_size():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 4, 20)).astype(float)
    clusters = np.repeat(np.arange(5), [1, 2, 3, 4, 10])
    gain = mrmc.gain_from_images(a, b, clusters, count="images")
    assert gain.estimate == pytest.approx((a - b).mean())
    assert mrmc.gain_from_images(a, b, clusters).estimate != pytest.approx((a - b).mean())


def test_one_formula_for_groups_that_share_no_cluster():
    """Images, clusters and groups give what plain matrices give; the change of a gap is weights 1 and -1."""
    rng = np.random.default_rng(1)
    a, b = answers(rng, 5, 60)
    groups = np.repeat(["x", "y", "z"], 20)
    tables = [(a - b)[:, groups == name] for name in "xyz"]
    assert np.allclose(mrmc.gain_from_images(a, b, np.arange(60), groups)[:9], mrmc.paired_gain(tables)[:9])
    gap = mrmc.gain_from_images(a, b, np.arange(60), groups, {"x": 1, "z": -1})
    assert np.allclose(gap[:9], mrmc.paired_gain([tables[0], tables[2]], [1, -1])[:9])


def test_clusters_across_groups_are_summed():
    """The same images in both groups: the average is the single group's gain and SE, the gap exactly nothing."""
    rng = np.random.default_rng(2)
    a, b = answers(rng, 5, 40)
    values, ids = [a - b, a - b], [np.arange(40)] * 2
    single, average = mrmc.paired_gain([a - b]), mrmc.gain_from_groups(values, ids, [0.5, 0.5])
    assert np.allclose(single[:7], average[:7])
    assert average.clusters == 40
    gap = mrmc.gain_from_groups(values, ids, [1, -1])
    assert gap.estimate == pytest.approx(0) and not gap.estimable and "zero" in gap.flags[0]


def test_a_pair_of_arms_in_two_groups_is_the_difference_of_images():
    rng = np.random.default_rng(4)
    first, second = answers(rng, 5, 40), answers(rng, 5, 40)
    values = [first[0] - first[1], second[0] - second[1]]
    joint = mrmc.gain_from_groups(values, [np.arange(40)] * 2, [1, -1])
    assert np.allclose(joint[:7], mrmc.paired_gain([values[0] - values[1]])[:7])


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (np.zeros((5, 20)), "all differences are zero"),
        (np.eye(20)[:1], "one run only"),
        (np.eye(5)[:, :1], "one cluster only"),
        (np.ones((5, 20)), "5 identical runs"),
        (np.tile(np.eye(20)[:1], (5, 1)), "5 identical runs, one distinct run only"),
        (np.array([[1.0, 0.0], [0.0, 1.0]]), "no variance"),
    ],
)
def test_not_estimable_is_said(table, reason):
    gain = mrmc.paired_gain([table])
    assert gain.estimate == pytest.approx(table.mean()) and not gain.estimable
    assert np.isnan([gain.se, gain.df, gain.statistic, gain.p, gain.low, gain.high]).all()
    assert gain.flags[0].startswith("not estimable") and any(reason in flag for flag in gain.flags)


def test_few_runs_are_flagged():
    """By simulation the size is up to .09 with two runs, the familywise error .095 with three (09_benchmarks)."""
    rng = np.random.default_rng(7)
    difference = np.subtract(*answers(rng, 5, 40))
    assert mrmc.paired_gain([difference[:2]]).flags == ("2 runs only: the test's size is known to hold from 5 on",)
    assert mrmc.paired_gain([difference[:4]]).flags[0].startswith("4 runs only")
    assert mrmc.paired_gain([difference]).flags == ()


def test_few_clusters_are_flagged():
    rng = np.random.default_rng(7)
    difference, flag = np.subtract(*answers(rng, 5, 40)), "in the smallest group: the test's size is known to hold"
    assert mrmc.paired_gain([difference[:, :9]]).flags == (f"9 clusters only {flag} from 10 on",)
    assert mrmc.paired_gain([difference[:, :10]]).flags == ()
    assert flag in mrmc.paired_gain([difference, difference[:, :9]]).flags[0]
    joined = mrmc.gain_from_groups([difference[:, :9], difference[:, 8:]], [range(9), range(8, 40)], [0.5, 0.5])
    assert joined.clusters == 40 and "9 clusters only" in joined.flags[0]
    ids = [f"patient{k}" for k in range(10) for _ in range(1 + 11 * (k == 0))][:21]
    assert mrmc.gain_from_images(*answers(rng, 5, 21), ids).flags == ()
    assert "clusters worth 2.9 equal ones" in mrmc.gain_from_images(*answers(rng, 5, 21), ids, count="images").flags[0]


def test_one_cluster_in_one_of_two_groups_is_not_estimable():
    rng = np.random.default_rng(5)
    gain = mrmc.gain_from_images(*answers(rng, 5, 12), ["only"] + list(range(11)), ["x"] + ["y"] * 11)
    assert not gain.estimable and "one cluster only in 1 of 2 groups" in gain.flags[0]


@pytest.mark.parametrize(
    ("tables", "weights", "message"),
    [
        ([np.array([[0.0, np.nan], [1, 0]])], None, "group 0 holds NaN or infinity, first at run 0, cluster 1"),
        ([np.zeros((5, 3)), np.zeros((4, 3))], None, r"differ in their runs: \[5, 4\]"),
        ([np.zeros((5, 3))], [0.5, 0.5], "1 groups need as many finite weights"),
        ([np.zeros((5, 0))], None, "at least one of each"),
        ([], None, "no groups"),
    ],
)
def test_bad_input_is_refused(tables, weights, message):
    with pytest.raises(ValueError, match=message):
        mrmc.paired_gain(tables, weights)


def test_bad_images_are_refused():
    good = np.zeros((3, 4))
    with pytest.raises(ValueError, match="same .runs, images. shape"):
        mrmc.gain_from_images(good, good[:, :3], range(4))
    with pytest.raises(ValueError, match="as many cluster and group ids"):
        mrmc.gain_from_images(good, good, range(3))
    with pytest.raises(ValueError, match="'z' has a weight but no image"):
        mrmc.gain_from_images(good, good, range(4), ["x", "x", "y", "y"], {"z": 1})
    with pytest.raises(ValueError, match="NaN, first at run 0, image 2"):
        mrmc.gain_from_images(np.array([[0, 1, np.nan, 1]] * 3), good, range(4))
    with pytest.raises(ValueError, match="level"):
        mrmc.paired_gain([np.tri(5)], level=95)


def rates(seed, runs, images, means, sd, sets):
    """Shares of data sets rejected at 5 %, and of intervals that hold the truth (of those that have one)."""
    rng, truth, rejected, covered, tested = np.random.default_rng(seed), expected_gain(means, sd), 0, 0, 0
    for _ in range(sets):
        a, b = answers(rng, runs, images, means, sd)
        gain = mrmc.paired_gain([a - b])
        if gain.estimable:
            tested += 1
            rejected += gain.p < 0.05
            covered += gain.low <= truth <= gain.high
    return rejected / sets, covered / max(tested, 1)


def test_size_and_coverage_by_simulation():
    """500 data sets: the bounds are the nominal rate with four standard errors of so few."""
    sd = (1.0, 0.3, 0.3, 0.3)
    size, _ = rates(0, 5, 64, (0.3, 0.3), sd, 500)
    assert 0.015 < size < 0.09
    _, coverage = rates(1, 5, 64, (0.8, 0.3), sd, 500)
    assert 0.91 < coverage < 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("images", "runs"), [(32, 5), (32, 20), (120, 10), (360, 5), (360, 20)])
@pytest.mark.parametrize("accuracy", [0.3, 0.6, 0.9])
def test_size_and_coverage_at_length(images, runs, accuracy):
    sd, sets = (1.0, 0.3, 0.3, 0.3), 2000
    mean = mean_for(accuracy, sd)
    size, _ = rates(images + runs, runs, images, (mean, mean), sd, sets)
    _, coverage = rates(images * runs, runs, images, (mean + 0.3, mean), sd, sets)
    assert 0.025 < size < 0.075  # .03-.07 and one standard error of 2,000
    assert 0.925 < coverage < 0.975


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sd", "accuracy"), [((1.0, 0.3, 0.0, 0.0), 0.6), ((0.0, 0.3, 0.0, 0.3), 0.6), ((1.0, 0.3, 0.3, 0.3), 0.98)]
)
def test_size_at_the_edges(sd, accuracy):
    """No variance between images, and accuracy at the ceiling: conservative is allowed, liberal is not."""
    for images, runs in ((32, 5), (120, 10)):
        size, _ = rates(images, runs, images, (mean_for(accuracy, sd),) * 2, sd, 2000)
        assert size < 0.075


@pytest.mark.slow
@pytest.mark.parametrize("count", ["clusters", "images"])
def test_size_with_unequal_clusters_that_span_classes(count):
    """Patients with 1-6 images in up to three of five classes, images of one patient alike: macro average."""
    rng, rejected, sets = np.random.default_rng(9), 0, 2000
    patients = np.repeat(np.arange(60), rng.integers(1, 7, 60))
    classes = (patients + rng.integers(0, 3, len(patients))) % 5
    for _ in range(sets):
        a, b = answers(rng, 5, len(patients), (0.3, 0.3), sd=(0.5, 0.3, 0.2, 0.3), clusters=patients)
        rejected += mrmc.gain_from_images(a, b, patients, classes, count=count).p < 0.05
    assert 0.025 < rejected / sets < 0.075
