"""Every pair of arms where nothing is declared, and McNemar's tests beside them."""

import numpy as np
import pandas as pd
import pytest
from foreign import answers
from statsmodels.stats.contingency_tables import mcnemar

from skinsyn.report import labels
from skinsyn.stats import all_pairs, contrasts, given_models, intake, sensitivity
from skinsyn.stats.hypotheses import Hypotheses
from skinsyn.stats.predictions import blocks


def grid_of(*tables):
    return blocks(intake.adapt(*tables).frame)


def test_every_pair_in_one_family_whatever_the_arms_are_called():
    grid = grid_of(answers(arms=("real + 10 gan", "gpt-4 - v2", "c"), runs=3))
    declared = Hypotheses.read(all_pairs.hypotheses(grid))
    tests = contrasts.test_families(grid, declared)
    assert tests["id"].tolist() == ["c - gpt-4-v2", "c - real+10 gan", "gpt-4-v2 - real+10 gan"]
    assert tests["family"].unique().tolist() == ["pairs"] and tests["correction"].eq("holm").all()
    assert tests["p_adjusted"].notna().all()
    assert labels.change(declared) == "c instead of gpt-4-v2" and list(labels.of_pair(declared)) == ["c", "gpt-4-v2"]


def test_tasks_have_families_of_their_own():
    table = answers()
    both = table.assign(task="top-1"), table.assign(task="top-3", correct=1)
    declared = Hypotheses.read(all_pairs.hypotheses(grid_of(pd.concat(both))))
    assert list(declared.families) == ["pairs, top-1", "pairs, top-3"]
    assert [one.id for one in declared.hypotheses] == ["app A - app B, top-1", "app A - app B, top-3"]


def test_too_many_or_too_few_arms_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match="has 13 arms.*-p hypotheses=mine.yml"):
        all_pairs.hypotheses(grid_of(answers(arms=[f"arm {k}" for k in range(13)], images=6)))
    with pytest.raises(ValueError, match="has 1 arms"):
        all_pairs.hypotheses(grid_of(answers(arms=["alone"])))


def test_mcnemar_is_that_of_statsmodels_with_holm_within_family_and_run():
    grid = grid_of(answers(arms=("a", "b", "c"), runs=2, images=120))
    table = given_models.all_pairs(grid, Hypotheses.read(all_pairs.hypotheses(grid)))
    assert len(table) == 6 and table["flags"].str.contains("given these trained models").all()
    for row in table.to_dict("records"):
        counts = [[row["both"], row["gained"]], [row["lost"], row["neither"]]]
        assert row["mcnemar"] == pytest.approx(mcnemar(counts, exact=False, correction=True).pvalue)
        assert row["exact"] == pytest.approx(mcnemar(counts, exact=True).pvalue)
    for _, rows in table.groupby("run"):
        smallest = rows.nsmallest(1, "mcnemar").iloc[0]
        assert smallest["mcnemar_holm"] == pytest.approx(min(1, 3 * smallest["mcnemar"]))


def test_as_many_gained_as_lost_is_no_evidence():
    assert given_models.corrected(0, 0) == given_models.corrected(7, 7) == 1.0
    assert np.isnan(given_models.corrected(np.nan, 1))


def test_no_sensitivity_and_no_dose_are_no_error():
    grid = grid_of(answers(runs=3))
    given = all_pairs.hypotheses(grid) | {"sensitivity": []}
    names = dict(zip(("series", "control"), given["arms"], strict=True))
    declared = Hypotheses.read(given | {"dose": names})
    assert declared.dose.average == "macro"
    assert len(sensitivity.analyse({"": grid}, declared, draws=20)) == 1
    assert sensitivity.analyse({"": grid}, declared.but(sensitivity=()), draws=20).empty
    with pytest.raises(KeyError, match="no column `ratio`"):
        contrasts.by_dose(grid, *declared.named(names.values()))
