"""Type I error and coverage of rates by group, of AUROC's gain and of gaps, where patients have several photographs."""

import warnings

import pytest

from bench import rates


def test_a_design_in_small():
    right = rates.truth(samples=1)
    found = rates.rates(right, 40, 2, 5, 2)
    assert 0.6 < right["auroc"] < 1 and 0 <= found["tpr"] <= 1 and 0 <= rates.gap(2, 3, 2, 50, 30) <= 1


@pytest.mark.slow
def test_size_and_coverage_with_several_photographs():
    """300 data sets of a design: within three standard errors of what is asked for."""
    warnings.simplefilter("ignore")
    found = rates.rates(rates.truth(), 120, 4, 5, 300)
    assert found.pop("AUROC's gain rejected") <= 0.05 + 0.038
    assert min(found.values()) >= 0.95 - 0.045, found
    assert rates.gap(4, 5, 300, 200) <= 0.05 + 0.038
