"""Families: published answers, the order of adjusted p, equivalence, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinsyn.stats import families, mrmc

BENJAMINI_HOCHBERG_1995 = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
BENJAMINI_HOCHBERG_1995 += [0.324, 0.4262, 0.5719, 0.6528, 0.759, 1]


def gain(estimate=0.05, se=0.01, df=10.0):
    low, high = mrmc.interval(estimate, se, df)
    return mrmc.Gain(estimate, se, df, estimate / se, 0.01, low, high, 5, 30)


@pytest.mark.parametrize(("method", "rejected"), [("bonferroni", 3), ("holm", 3), ("fdr_bh", 4), ("fdr_by", 3)])
def test_benjamini_hochberg_1995(method, rejected):
    assert (families.adjust(BENJAMINI_HOCHBERG_1995, method) <= 0.05).sum() == rejected


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12), method=st.sampled_from(families.METHODS))
@settings(max_examples=12, deadline=None)
def test_adjusted_p_keep_their_order_and_range(p, method):
    adjusted = families.adjust(p, method)
    assert ((adjusted >= np.asarray(p) - 1e-12) & (adjusted <= 1)).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-12).all()


def test_what_was_not_tested_does_not_count():
    adjusted = families.adjust([0.01, np.nan, 0.04], "holm")
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04]) and np.isnan(adjusted[1])
    assert np.isnan(families.adjust([np.nan], "holm")).all() and len(families.adjust([], "holm")) == 0


def test_refused():
    with pytest.raises(ValueError, match="number 1 .* outside 0..1"):
        families.adjust([0.5, 1.2], "holm")
    with pytest.raises(ValueError, match="unknown correction 'hommel'"):
        families.adjust([0.5], "hommel")
    with pytest.raises(ValueError, match="count c"):
        families.mcnemar(3, -1)
    with pytest.raises(ValueError, match="empty table"):
        families.newcombe_paired(0, 0, 0, 0)
    with pytest.raises(ValueError, match="margin"):
        families.tost(gain(), -0.03)


def test_mcnemar_and_newcombe():
    result = families.mcnemar(6, 16)
    assert result.exact == pytest.approx(0.05248, abs=5e-6) and result.mid_p == pytest.approx(0.03469, abs=5e-6)
    assert families.mcnemar(0, 0)[2:] == (1.0, 1.0) and families.mcnemar(4, 4)[2:] == (1.0, 1.0)
    low, high = families.newcombe_paired(14, 5, 0, 22)
    assert (low, high) == (pytest.approx(0.0115, abs=5e-5), pytest.approx(0.2265, abs=5e-5))
    assert families.newcombe_paired(14, 0, 5, 22) == pytest.approx((-high, -low))


def test_simultaneous_intervals_are_bonferroni():
    nothing = mrmc.paired_gain([np.zeros((3, 4))])

    def ends(*gains):
        rows = pd.DataFrame([one._asdict() for one in gains])
        table = families.run_family(rows, "holm", low_df=("estimate", "se", "df"))
        return table[["low_simultaneous", "high_simultaneous"]].to_numpy()

    assert ends(gain(), gain(0.02))[0] == pytest.approx(mrmc.interval(0.05, 0.01, 10.0, 0.975))
    alone = ends(gain(), nothing)
    assert alone[0] == pytest.approx(mrmc.interval(0.05, 0.01, 10.0)) and np.isnan(alone[1]).all()


def test_equivalence_and_non_superiority():
    near = gain(0.001, 0.005)
    assert families.tost(near, 0.03).verdict == "equivalent"
    assert families.tost(gain(0.001, 0.05), 0.03).verdict == "not shown"
    result = families.non_superiority(near, 0.03)
    assert result.verdict == "no gain above the margin" and near.estimate < result.high < 0.03
    assert families.non_superiority(gain(0.02, 0.02), 0.03).verdict == "not shown"
    edge = families.non_superiority(gain(0.03 - mrmc.interval(0, 0.01, 10.0, 0.9)[1], 0.01), 0.03)
    assert edge.p == pytest.approx(0.05) and edge.high == pytest.approx(0.03)
    nothing = mrmc.paired_gain([np.zeros((3, 4))])
    assert families.tost(nothing, 0.03).verdict == families.non_superiority(nothing, 0.03).verdict == "not estimable"


def test_run_family_adds_columns():
    rows = pd.DataFrame({"p": [0.01, 0.04, np.nan], "estimate": 1.0, "se": 0.3, "df": 8.0})
    table = families.run_family(rows, "fdr_bh", low_df=("estimate", "se", "df"))
    assert table["p_adjusted"][:2].tolist() == pytest.approx([0.02, 0.04])
    assert table["p_by"][:2].tolist() == pytest.approx([0.03, 0.06])
    assert table["low_simultaneous"][0] == pytest.approx(mrmc.interval(1.0, 0.3, 8.0, 0.975)[0])
    assert table.loc[2, ["p_adjusted", "low_simultaneous"]].isna().all() and "p_adjusted" not in rows


def test_max_t_of_one_hypothesis_is_the_sign_test_of_clusters():
    """Six clusters of one sign: only two of 64 sign patterns reach the sum, so p is 2/64."""
    p = families.max_t(np.ones((6, 1)), draws=50_000)
    assert p[0] == pytest.approx(2 / 64, abs=0.003)
    assert families.max_t(np.array([[1.0], [-1.0]]), draws=99)[0] == 1.0


def test_max_t_is_step_down_and_sees_what_goes_together():
    rng = np.random.default_rng(0)
    strong, weak = rng.standard_normal(40) + 1.2, rng.standard_normal(40) + 0.35
    alone = families.max_t(weak[:, None], draws=4999)[0]
    table = np.column_stack([strong, weak, strong, np.zeros(40)])
    adjusted = families.adjust([0.01, 0.2, 0.01, np.nan], "max_t", table, draws=4999)
    assert adjusted[0] == adjusted[2] == pytest.approx(1 / 5000)  # the same hypothesis twice costs nothing
    assert adjusted[1] == pytest.approx(alone, abs=0.02) and np.isnan(adjusted[3])
    assert np.isnan(families.max_t(table)[3])
    assert families.max_t(np.column_stack([weak] * 3), draws=4999) == pytest.approx([alone] * 3)


def test_max_t_keeps_its_familywise_error_given_the_models():
    rng, rejected = np.random.default_rng(1), 0
    for seed in range(400):
        shared = rng.standard_normal((30, 1))
        p = families.max_t(0.7 * shared + rng.standard_normal((30, 5)), draws=199, seed=seed)
        rejected += p.min() <= 0.05
    assert 0.02 < rejected / 400 < 0.09


def test_max_t_refuses():
    with pytest.raises(ValueError, match="needs contributions .clusters, 1 hypotheses.; got nothing"):
        families.adjust([0.5], "max_t")
    with pytest.raises(ValueError, match="without NaN"):
        families.max_t(np.full((3, 2), np.nan))
