"""The simulation benchmark: the same test as paired_gain, the accuracies it plants, and rows that can fail."""

import numpy as np
import pandas as pd
import pytest

from bench import operating_characteristics
from skinsyn.run import paths
from skinsyn.stats import mean_squares, mrmc


def test_many_data_sets_at_once_are_paired_gain_one_by_one():
    rng = np.random.default_rng(0)
    tables = [rng.integers(-1, 2, (20, 4, n)).astype(float) for n in (9, 5)]
    for table in tables:
        table[3] = 0  # nothing to test
        table[4] = table[4, :1]  # every run the same
        table[5] = rng.permuted(table[5, :1].repeat(4, 0), axis=1)  # every run the same estimate
    for rule in mean_squares.RULES:
        many = mrmc.paired_gains(tables, [0.7, -0.3], 0.9, rule)
        for number in range(20):
            one = mrmc.paired_gain([table[number] for table in tables], [0.7, -0.3], 0.9, rule)
            assert [value[number] for value in many] == pytest.approx(list(one[:7]), nan_ok=True, rel=1e-12)
        assert np.isnan(many.p[[3, 4]]).all() and np.isinf(many.df[5]) == (rule == "hillis")


@pytest.mark.parametrize("average", [None, ((1.0,),)])
def test_studies_of_clusters_are_tested_as_images_are(average):
    clusters, classes = np.repeat(np.arange(6), [1, 2, 3, 1, 4, 3]), np.arange(14) % 2
    groups = None if average else tuple(classes.tolist())
    study = operating_characteristics.Study(
        "size", 14, 3, 0.6, groups=groups, clusters=tuple(clusters.tolist()), contrasts=average
    )
    first, second = operating_characteristics.answers(np.random.default_rng(1), 5, study)
    (tables, weights), *_ = operating_characteristics.tables_of(study, first.astype(float) - second)
    many = mrmc.paired_gains(tables, weights)
    for number in range(5):
        one = mrmc.gain_from_images(first[number], second[number], clusters, None if average else classes)
        assert [value[number] for value in many] == pytest.approx(list(one[:7]), rel=1e-10)


def test_families_of_groups():
    groups = tuple(np.repeat(["a", "b", "c"], [5, 4, 3]).tolist())
    study = operating_characteristics.Study(
        "size", 12, 4, 0.6, groups=groups, contrasts=((0.0, 1.0, 0.0), (-1.0, 0.0, 1.0))
    )
    first, second = operating_characteristics.answers(np.random.default_rng(1), 3, study)
    difference = first.astype(float) - second
    made = [mrmc.paired_gains(*one) for one in operating_characteristics.tables_of(study, difference)]
    alone = mrmc.paired_gain([difference[2, :, 5:9]])
    against = mrmc.paired_gain([difference[2, :, :5], difference[2, :, 9:]], [-1, 1])
    assert made[0].p[2] == pytest.approx(alone.p) and made[1].p[2] == pytest.approx(against.p)


def test_what_is_planted_is_there():
    study = operating_characteristics.Study("coverage and power", 40, 5, 0.7, 0.1)
    first, second = operating_characteristics.answers(np.random.default_rng(2), 1500, study)
    assert second.mean() == pytest.approx(0.7, abs=0.01) and first.mean() - second.mean() == pytest.approx(
        0.1, abs=0.01
    )


def test_rows():
    size = operating_characteristics.row(operating_characteristics.Study("size", 32, 5, 0.6), 400, 0)
    assert size["met"] == (0.03 <= size["rejected"] <= 0.07) and 0.02 < size["rejected"] < 0.1
    planted = operating_characteristics.row(
        operating_characteristics.Study("coverage and power", 60, 5, 0.6, 0.15), 400, 0
    )
    assert planted["rejected"] == pytest.approx(planted["predicted"], abs=0.08) and 0.9 < planted["covered"] < 0.99
    nothing = operating_characteristics.row(
        operating_characteristics.Study("coverage and power", 60, 5, 0.6, 0.15, sd=(0.1, 0.1, 0.1, 0.1, 0.0)), 50, 0
    )
    assert nothing["rejected"] > 0.5
    again = operating_characteristics.row(operating_characteristics.Study("size", 32, 5, 0.6), 400, 0)
    assert again == pytest.approx(size, nan_ok=True)


def test_the_designs_are_those_of_the_plan():
    kinds = pd.Series(
        [study.kind for study in operating_characteristics.studies([32, 360], [5, 20], [0.3, 0.9])]
    ).value_counts()
    assert (
        set(kinds.index) == set(operating_characteristics.GOALS) and kinds["size"] == kinds["coverage and power"] == 8
    )


def test_the_committed_table_meets_its_goals():
    file = paths.project_root() / "figures" / "demo" / "09_benchmarks-simulation.csv"
    if not file.exists():
        pytest.skip("the simulation of every design has not been run to its end: make bench")
    table = pd.read_csv(file)
    assert (table["sets"] >= 10_000).all() and set(table["study"]) == set(operating_characteristics.GOALS)
    assert table["images"].min() <= 32 and table["images"].max() >= 360 and set(table["runs"]) >= {5, 20}
    # Three runs, and 90 against 95 %, stand in the table for what they show: the plan promises accuracies up to 90 %.
    promised = table[(table["runs"] >= mrmc.ENOUGH_RUNS) & ~table["study"].str.contains("ceiling$")]
    lost = promised.loc[~promised["met"], ["study", "images", "runs", "rejected", "covered"]]
    assert lost.empty, lost.to_string()
