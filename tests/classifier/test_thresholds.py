"""The threshold: a known answer, the best there is, the same whatever the order, and a stated fallback."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_curve

from skinsyn.classifier.thresholds import FALLBACK, youden


def test_a_cut_by_hand():
    # Between .3 and .6 all three positives and three of four negatives are right: J = 1 + 3/4 - 1.
    assert youden([0, 0, 0, 1, 1, 0, 1], [0.1, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9], least=1) == pytest.approx(0.45)


def test_of_two_equally_good_cuts_the_nearer_to_one_half():
    y, score = [0, 1, 0, 1], [0.1, 0.3, 0.6, 0.9]  # below .2, or above .75: J is one half at either
    assert youden(y, score, least=1) == pytest.approx(0.75)
    assert youden([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9], least=1) == pytest.approx(0.25), "as near: the lower"


scored = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60)


@settings(max_examples=60, deadline=None)
@given(scored, st.randoms())
def test_no_cut_is_better_and_the_order_of_images_does_not_count(rows, random):
    y, score = np.array([a for a, _ in rows], int), np.array([b for _, b in rows]) / 20
    cut = youden(y, score, least=1)
    random.shuffle(rows)
    assert cut == youden([a for a, _ in rows], [b / 20 for _, b in rows], least=1)
    if len(set(y)) == 2:
        false, true, _ = roc_curve(y, score)
        reached = 2 * balanced_accuracy_score(y, score >= cut) - 1
        assert reached == pytest.approx((true - false).max()) or (cut == FALLBACK and (true - false).max() == 0)


def test_too_few_positives_or_a_useless_score_fall_back():
    y, score = np.arange(30) < 9, np.linspace(0.9, 0.1, 30)
    assert youden(y, score) == youden(~y, score) == FALLBACK and youden(y, score, least=9) > FALLBACK
    assert youden(np.arange(40) % 2, np.full(40, 0.3)) == FALLBACK
    assert youden(np.arange(40) < 20, np.linspace(0, 1, 40)) == FALLBACK, "a score that is the wrong way round"
    with pytest.raises(ValueError, match="one finite score"):
        youden([0, 1], [0.1, np.nan])
    with pytest.raises(ValueError, match=r"\(3,\) scores and \(2,\) labels"):
        youden([0, 1], [0.1, 0.2, 0.3])
