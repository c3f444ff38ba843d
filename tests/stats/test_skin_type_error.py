"""Estimates corrected for errors of the recorded skin type: exact mixtures, sensitivity, coverage, and its failure."""

import numpy as np
import pandas as pd
import pytest
from simulated import predictions
from typed import GROUPS, OF_CONDITION, RECORDED, drawn, gains, truth

from skinsyn.stats import skin_type_error, skin_types
from skinsyn.stats.predictions import blocks

CONTRASTS = skin_types.contrasts_of(GROUPS)
SYNTHETIC = {"n": 8, "ratio": 10, "transforms": True}
CONTROL = {"n": 8, "ratio": 0, "transforms": True}


def test_an_exact_mixture_is_taken_apart_by_both_methods():
    """100 images by true (rows) and recorded group; every image of a true group has the same answer in every run."""
    cells = np.array([[36, 4, 0], [10, 20, 2], [0, 4, 24]])
    true, recorded = (np.repeat(index, cells.ravel()) for index in np.indices(cells.shape).reshape(2, -1))
    values = np.tile(np.array([0.1, 0.4, 0.7])[true], (3, 1)) + np.array([[-0.1], [0.0], [0.1]])
    for method in skin_type_error.METHODS:
        found = skin_type_error.corrected(
            values, np.array(GROUPS)[recorded], np.arange(100), 10 * cells, GROUPS, CONTRASTS, method, draws=200
        )
        assert [found[name].estimate for name in GROUPS] == pytest.approx([0.1, 0.4, 0.7])
        assert found["V-VI minus I-II"].estimate == pytest.approx(0.6)
        assert found["V-VI minus I-II"].recorded < 0.58


def test_without_errors_the_recorded_groups_remain():
    values, group, patient, _ = gains(np.random.default_rng(1000), 6, 90)
    ids, sample = np.array(GROUPS)[group], np.array([[30, 5, 0], [10, 30, 5], [0, 5, 30]])
    none = skin_type_error.corrected(values, ids, patient, sample, GROUPS, CONTRASTS, errors=0.0, draws=4000)
    same = skin_type_error.corrected(values, ids, patient, np.diag([40, 40, 40]), GROUPS, CONTRASTS, draws=4000)
    for name, weights in CONTRASTS.items():
        members = {one: np.flatnonzero(ids == one) for one in weights}
        gain = skin_types.mean_of(values, members, patient.astype(str), weights, 0.95)
        for found in (none[name], same[name]):
            assert found.estimate == pytest.approx(gain.estimate) and found.recorded == pytest.approx(gain.estimate)
            assert (found.low, found.high) == pytest.approx((gain.low, gain.high), abs=0.06 * (gain.high - gain.low))


def test_a_smaller_validation_sample_and_more_errors_widen_the_interval():
    values, group, patient, _ = gains(np.random.default_rng(1001), 6, 150)
    ids, sample = np.array(GROUPS)[group], np.array([[60, 4, 0], [20, 40, 4], [0, 4, 40]])
    widths = []
    for counts, errors in ((100 * sample, 1.0), (sample, 1.0), (sample // 2, 1.0), (sample // 2, 1.5)):
        one = skin_type_error.corrected(values, ids, patient, counts, GROUPS, CONTRASTS, errors=errors, draws=500)
        widths.append(one["III-IV"].high - one["III-IV"].low)
    assert widths == sorted(widths) and widths[0] < widths[-1]


def test_what_cannot_be_solved_is_said():
    values, group, patient, _ = gains(np.random.default_rng(1002), 6, 90)
    ids, blind = np.array(GROUPS)[group], np.full((3, 3), 10)
    for sample, why in ((blind, "no solution"), (np.diag([9, 9, 0]), "the sample holds none recorded as V-VI")):
        one = skin_type_error.corrected(values, ids, patient, sample, GROUPS, CONTRASTS, draws=50)["I-II"]
        assert np.isnan(one.estimate) and one.flags[0].startswith("not estimable") and why in one.flags[0]
    light = np.where(ids == "V-VI", "unknown", ids)
    one = skin_type_error.corrected(values, light, patient, np.diag([9, 9, 9]), GROUPS, CONTRASTS, draws=50)["I-II"]
    assert "no test image is recorded as V-VI" in one.flags[0]
    with pytest.raises(ValueError, match="unknown method 'inverse'"):
        skin_type_error.predictive(blind, np.ones(3), "inverse")


def test_the_table_corrects_each_annotator_whose_types_the_images_carry():
    frame = predictions(ratios=(0, 10))
    frame["fst_group_scale"] = frame["fst_group"]
    true = np.repeat(GROUPS, 40)
    reads = pd.DataFrame({"expert_group": true, "scale_group": true, "centaur_group": true})
    reads.loc[::8, "scale_group"] = "I-II"
    found = skin_type_error.table(blocks(frame), SYNTHETIC, CONTROL, reads, ["condition"], draws=50)
    absent = found[found["annotator"] == "centaur"]
    assert absent["flags"].str.contains("no skin type by centaur").all()
    scale = found[found["annotator"] == "scale"]
    assert len(scale) == 3 * 5 * 5 and (scale["validated"] == 120).all()
    as_recorded = scale[scale["errors"] == 0]
    assert as_recorded["estimate"].to_numpy() == pytest.approx(as_recorded["recorded"].to_numpy())


def study(seed: int, patients: int, reads: int, runs: int, differential: bool = False) -> dict[str, tuple[bool, float]]:
    """Contrast → (the interval covers the truth, error of the estimate); validation images are drawn by recorded type.

    differential: the recorded type of patients of III-IV whom synthetic images helped is V-VI, against the model.
    """
    rng, real = np.random.default_rng(seed), truth()
    values, group, patient, _ = gains(rng, runs, patients)
    recorded = drawn(rng, group.reshape(patients, -1)[:, 0], RECORDED)
    if differential:
        helped = values.mean(0).reshape(patients, -1).mean(1) > 0.15
        recorded = np.where(helped & (group.reshape(patients, -1)[:, 0] == 1), 2, recorded)
    pool = rng.choice(3, size=20 * reads, p=OF_CONDITION.mean(0))
    seen = drawn(rng, pool, RECORDED)
    sizes = (reads // 2, reads // 4, reads // 4)
    picked = np.concatenate([np.flatnonzero(seen == k)[:size] for k, size in enumerate(sizes)])
    sample = skin_type_error.counts(np.array(GROUPS)[pool[picked]], np.array(GROUPS)[seen[picked]], GROUPS)
    found = skin_type_error.corrected(
        values, np.array(GROUPS)[recorded][patient], patient, sample, GROUPS, CONTRASTS, draws=300, seed=seed
    )
    return {name: (one.low <= real[name] <= one.high, one.estimate - real[name]) for name, one in found.items()}


def coverage(sets: int, **options) -> tuple[pd.Series, pd.Series]:
    """Share of intervals that cover, and mean error [points], of each contrast."""
    studies = [study(1000 + number, **options) for number in range(sets)]
    return tuple(pd.DataFrame([{k: v[i] for k, v in one.items()} for one in studies]).mean() for i in (0, 1))


def test_corrected_intervals_cover_the_truth_in_few_studies():
    share, _ = coverage(20, patients=120, reads=200, runs=6)
    assert share.mean() > 0.88


@pytest.mark.slow
def test_corrected_intervals_cover_the_truth():
    """300 studies: the binomial standard error of each share is .013."""
    for options in ({"patients": 200, "reads": 200, "runs": 8}, {"patients": 100, "reads": 200, "runs": 5}):
        share, error = coverage(300, **options)
        assert 0.93 <= share.mean() <= 0.97 and share.between(0.91, 0.99).all(), share
        assert (error.abs() < 0.01).all()


@pytest.mark.slow
def test_where_the_recorded_type_depends_on_the_answer_the_correction_fails_in_a_known_direction():
    """Patients of III-IV who were helped are recorded as V-VI: its gain is too high, that of III-IV too low."""
    share, error = coverage(100, patients=200, reads=200, runs=8, differential=True)
    assert error["V-VI"] > 0.05 and error["III-IV"] < -0.07 and share[["III-IV", "V-VI"]].max() < 0.6
