"""The simulation benchmark: the same test as paired_gain, the truths it plants, rows that are kept and can fail."""

import numpy as np
import pandas as pd
import pytest

from bench import beta_model, designs, normal_model, operating_characteristics
from bench.beta_model import Cell, Effects, Trial
from bench.normal_model import Study
from skinsyn.run import paths
from skinsyn.stats import families, mean_squares, mrmc

COMMITTED = paths.project_root() / "figures" / "demo" / "09_benchmarks-simulation.csv"
# Rows that miss their goal, (study, clusters, photographs, runs, accuracy), as the table shows them. So few answers
# differ there that the test is discrete: its size is .026-.030 in five runs; one coverage is .929 (80 against 90 %).
MISSED = {
    ("size", 10, 1, 5, 0.8),
    ("size", 13, 1, 5, 0.8),
    ("size", 10, 4, 5, 0.8),
    ("size", 13, 4, 5, 0.8),
    ("size", 32, 1, 5, 0.9),
    ("coverage and power", 10, 1, 20, 0.8),
}


def committed() -> pd.DataFrame:
    if not COMMITTED.exists():
        pytest.skip("the simulation of every design has not been run to its end: make bench")
    return pd.read_csv(COMMITTED)


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
    study = Study("size", 14, 3, 0.6, groups=groups, clusters=tuple(clusters.tolist()), contrasts=average)
    first, second = normal_model.answers(np.random.default_rng(1), 5, study)
    (tables, weights), *_ = normal_model.tests_of(study, first.astype(float) - second)
    many = mrmc.paired_gains(tables, weights)
    for number in range(5):
        one = mrmc.gain_from_images(first[number], second[number], clusters, None if average else classes)
        assert [value[number] for value in many] == pytest.approx(list(one[:7]), rel=1e-10)


def test_families_of_groups():
    groups = tuple(np.repeat(["a", "b", "c"], [5, 4, 3]).tolist())
    study = Study("size", 12, 4, 0.6, groups=groups, contrasts=((0.0, 1.0, 0.0), (-1.0, 0.0, 1.0)))
    first, second = normal_model.answers(np.random.default_rng(1), 3, study)
    difference = first.astype(float) - second
    made = [mrmc.paired_gains(*one) for one in normal_model.tests_of(study, difference)]
    alone = mrmc.paired_gain([difference[2, :, 5:9]])
    against = mrmc.paired_gain([difference[2, :, :5], difference[2, :, 9:]], [-1, 1])
    assert made[0].p[2] == pytest.approx(alone.p) and made[1].p[2] == pytest.approx(against.p)


@pytest.mark.parametrize("correction", ["holm", "fdr_bh"])
def test_a_family_rejects_where_families_adjust_does(correction):
    p = np.random.default_rng(0).uniform(size=(400, 6)) ** 2
    p[::5, 2], p[::7] = np.nan, np.nan
    adjusted = [families.adjust(one, correction) for one in p]
    assert operating_characteristics.any_rejected(p, correction, 0.05).tolist() == [
        bool((one <= 0.05).any()) for one in adjusted
    ]


def test_what_is_planted_is_there():
    study = Study("coverage and power", 40, 5, 0.7, 0.1)
    first, second = normal_model.answers(np.random.default_rng(2), 1500, study)
    assert second.mean() == pytest.approx(0.7, abs=0.01)
    assert first.mean() - second.mean() == pytest.approx(0.1, abs=0.01)


def test_gains_of_the_beta_model_are_those_expected():
    """On average, and given what the runs of a study share."""
    trial = Trial("size", (Cell(0.6, 20, 1.0), Cell(0.8, 10, -1.0)), 10, 2, ((1.0, 0.0),), 0.1)
    found, _ = beta_model.differences(np.random.default_rng(0), 3000, trial)
    for table, cell in zip(found, trial.cells, strict=True):
        assert table.mean() == pytest.approx(beta_model.mean_gain(cell, trial), abs=0.004)
        assert set(np.unique(table)) == {-1.0, -0.5, 0.0, 0.5, 1.0}
    given = trial._replace(effects=Effects(generator=0.6, generator_slope=0.4, shared=0.5), given=True)
    found, held = beta_model.differences(np.random.default_rng(1), 3000, given)
    for table, cell in zip(found, given.cells, strict=True):
        expected = beta_model.given_gain(cell, given, held)
        high = expected > np.median(expected)
        for part in (high, ~high):
            assert table[part].mean() == pytest.approx(expected[part].mean(), abs=0.006)
        assert expected.mean() == pytest.approx(beta_model.mean_gain(cell, given), abs=0.005)
        assert expected.std() > 0.05


def test_a_family_of_small_cells_keeps_its_error():
    """27 cells of ten clusters under Benjamini-Hochberg, nothing planted: with the runs' mean square alone in the
    denominator of the degrees of freedom something is rejected three times as often as it may be."""
    trial = Trial("", (Cell(0.5, 10, 1.0),) * 27, 20, 2, designs.EACH[27])
    (tests, _), *_ = trial.simulate(np.random.default_rng(0), 300)
    rejected = {}
    for rule in mean_squares.RULES:
        p = np.column_stack([mrmc.paired_gains(*one, df=rule).p for one in tests])
        rejected[rule] = operating_characteristics.any_rejected(p, "fdr_bh", 0.05).mean()
    assert rejected["satterthwaite"] <= 0.06 and rejected["hillis"] > 0.12, rejected


def test_photographs_of_a_patient_are_alike():
    trial = Trial("size", (Cell(0.5, 30),), 5, 4, ((1.0,),), effects=Effects(arms=0.0))
    whole, _ = beta_model.differences(np.random.default_rng(0), 300, trial)
    apart, _ = beta_model.differences(
        np.random.default_rng(0), 300, trial._replace(effects=Effects(arms=0.0, patient=0.0))
    )
    assert whole[0].mean(1).var() > 1.5 * apart[0].mean(1).var()


def test_rows():
    size = operating_characteristics.row(Study("size", 32, 5, 0.6), 400, 0)
    assert size["met"] == (0.03 <= size["rejected"] <= 0.07) and 0.02 < size["rejected"] < 0.1 and size["promised"]
    planted = operating_characteristics.row(Study("coverage and power", 60, 5, 0.6, 0.15), 400, 0)
    assert planted["rejected"] == pytest.approx(planted["predicted"], abs=0.08) and 0.9 < planted["covered"] < 0.99
    loud = Study("coverage and power", 60, 5, 0.6, 0.15, sd=(0.1, 0.1, 0.1, 0.1, 0.0))
    assert operating_characteristics.row(loud, 50, 0)["rejected"] > 0.5
    assert operating_characteristics.row(Study("size", 32, 5, 0.6), 400, 0) == pytest.approx(size, nan_ok=True)
    small = Trial("size", (Cell(0.5, 9),), 5, 1, ((1.0,),))
    assert not operating_characteristics.row(small, 50, 0)["promised"]


def test_rows_are_kept_and_made_again_for_other_designs_only(tmp_path):
    file, said, some = tmp_path / "rows.csv", [], [Study("size", 12, 3, 0.5), Study("size", 16, 3, 0.5)]
    first = operating_characteristics.characteristics(some[:1], 50, file, say=said.append)
    both = operating_characteristics.characteristics(some, 50, file, say=said.append)
    assert len(said) == 2 and len(both) == 2 and both.iloc[:1].equals(first.astype(both.dtypes))
    again = operating_characteristics.characteristics(some[::-1], 50, file, say=said.append)
    assert len(said) == 2 and again["images"].tolist() == [16, 12]
    operating_characteristics.characteristics(some, 60, file, say=said.append)
    assert len(said) == 4 and len(pd.read_csv(file)) == 4


def test_the_designs_are_those_of_the_plan():
    every = designs.every([32, 360], [9, 10, 40], [1, 4], [3, 5, 20], [0.3, 0.9])
    assert {design.kind for design in every} == set(operating_characteristics.GOALS)
    assert len({operating_characteristics.key_of(design, 10, 0) for design in every}) == len(every)
    cells = [design for design in every if "F4" in design.kind]
    assert all(len(design.cells) == len(design.contrasts) == 27 for design in cells)
    assert {min(c.clusters for c in design.cells) for design in cells} == {9, 10, 13, 40}
    part = designs.subset(every)
    assert {design.kind for design in part} == set(operating_characteristics.GOALS) and len(part) < len(every) / 2


def test_the_committed_table_meets_its_goals():
    """Where runs and clusters carry no flag; MISSED fall short by less than .005, and none rejects too often."""
    table = committed()
    assert (table["sets"] >= 5_000).all() and set(table["study"]) == set(operating_characteristics.GOALS)
    assert table["images"].min() <= 32 and table["images"].max() >= 360 and set(table["runs"]) >= {5, 10, 20}
    assert set(table.loc[table["model"] == "beta", "photographs"]) >= {1, 2, 4} and table["fewest"].min() == 9
    lost = table[table["promised"] & ~table["met"]]
    keys = ["study", "clusters", "photographs", "runs", "accuracy"]
    bad = lost[~pd.MultiIndex.from_frame(lost[keys]).isin(list(MISSED))]
    assert bad.empty, bad[["model", *keys, "rejected", "covered"]].to_string()
    size, planted = lost[lost["study"] == "size"], lost[lost["study"] == "coverage and power"]
    assert size["rejected"].between(0.025, 0.03).all() and planted["covered"].between(0.925, 0.93).all()
    power = table[table["predicted"].notna() & table["promised"]]
    assert (power["rejected"] - power["predicted"]).abs().max() <= 0.04


def test_what_all_runs_share_is_no_error_given_it_and_one_over_new_draws():
    """Why conclusions hold "with these generators": the same test, the same data, two truths."""
    table = committed().query("runs == 10").set_index("study")["rejected"]
    for what in ("shared generators, gain", "shared training images, gain", "shared generators, F3"):
        assert table[f"{what} given them"] <= 0.07 and table[f"{what} over new ones"] > 0.09


@pytest.mark.slow
def test_a_part_of_the_committed_table_is_made_again():
    """The same seeds give the same rates, and they meet the goals."""
    table = committed()
    every = designs.every([32, 120, 360], [9, 10, 13, 25, 40], [1, 2, 4], [3, 5, 10, 20], [0.3, 0.6, 0.9])
    assert len(every) == len(table)
    part, missed = designs.subset(every), []
    for design, expected in zip(every, table.to_dict("records"), strict=True):
        if design in part:
            made = operating_characteristics.row(design, 5000, operating_characteristics.seed_of(design))
            assert made["rejected"] == pytest.approx(expected["rejected"], abs=1e-3), design.described
            assert made["covered"] == pytest.approx(expected["covered"], abs=1e-3), design.described
            missed += [made] if made["promised"] and made["met"] != expected["met"] else []
    assert not missed
