"""From predictions to hypotheses: the contract, gains against plain arithmetic, declared families."""

import numpy as np
import pandas as pd
import pytest
from declarations import declare
from scipy import stats
from simulated import predictions
from statsmodels.stats.multitest import multipletests

from skinsyn.stats import contrasts, dose_response, estimands, mrmc
from skinsyn.stats.predictions import blocks, find_arm, sizes

TABLE = predictions()
BLOCKS = blocks(TABLE)  # checked once
SYNTHETIC = {"task": "condition", "n": 8, "ratio": 10, "method": "in-then-outpaint", "transforms": True}
CONTROL = {"task": "condition", "n": 8, "ratio": 0, "transforms": True}


def test_the_contract_holds_and_remarks_are_given():
    assert contrasts.check_predictions(TABLE) == []
    fewer = TABLE[TABLE["condition"] != "pattern 0"].assign(fst_group="unknown")
    remarks = contrasts.check_predictions(fewer)
    assert any("no test image of pattern 0" in r for r in remarks) and any("unknown for all" in r for r in remarks)


def test_a_setting_that_a_table_has_no_column_of_was_not_run_and_a_misspelt_one_is_refused():
    """Somebody else's predictions need not have every column of ours; a typing error must not pass for that."""
    block = BLOCKS["condition"]
    assert find_arm(block, CONTROL) is not None
    assert find_arm(block, CONTROL | {"steps": "matched"}) is None
    with pytest.raises(ValueError, match="'step'"):
        find_arm(block, CONTROL | {"step": "matched"})
    with pytest.raises(ValueError, match="did you mean 'ratio'"):
        find_arm(block, {"ratios": 0})


def broken(change):
    table = TABLE[TABLE["n"] == 8].reset_index(drop=True).copy()
    return change(table)


def put(table, row, column, value):
    table[column] = table[column].astype(object) if isinstance(value, str) else table[column].astype(float)
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="cluster_id"), r"lack the columns \['cluster_id'\]"),
        (lambda t: t.iloc[:0], "no row"),
        (lambda t: t.drop(index=7), "run 0 lacks 1 of 108 test images, first 'image0007'"),
        (lambda t: t[~((t["ratio"] == 10) & (t["run"] == 3))], "lacks run 3 altogether"),
        (lambda t: pd.concat([t, t.iloc[[4]]]), "duplicated arm, run and image_id in 1 rows, first .*'image0004'"),
        (lambda t: put(t, 5, "p_pattern 3", np.nan), "p_pattern 3 is NaN in 1 rows, first .*'image0005'"),
        (lambda t: put(t, 5, "p_pattern 3", 1.5), "do not sum to 1 .but to .* in 1 rows.*'image0005'"),
        (lambda t: t.assign(correct=t["correct"].where(t.index != 9, 1 - t["correct"])), "contradicts .*'image0009'"),
        (lambda t: put(t, 9, "correct", np.nan), "'correct' is empty .NaN. in 1 rows, first .*'image0009'"),
        (lambda t: put(t, 9, "fst_group", "I-II"), "'image0009' has more than one fst_group: .'I-II', 'V-VI'."),
        (lambda t: put(t, 9, "cluster_id", "other"), "image 'image0009' has more than one cluster_id"),
        (lambda t: put(t, 9, "method", "other"), "has more than one method"),
        (lambda t: t.assign(y_true=t["y_true"].replace("pattern 4", "pattern x")), "'pattern x'.*no column"),
    ],
)
def test_broken_predictions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        contrasts.check_predictions(broken(change))


def test_a_threshold_decides_what_is_right():
    """Chosen on validation: .3 calls more images malignant than the highest probability does."""
    table = TABLE[(TABLE["task"] == "malignancy") & (TABLE["n"] == 8)].reset_index(drop=True)
    with pytest.raises(ValueError, match="contradicts"):
        contrasts.check_predictions(table.assign(threshold=0.3))
    called = np.where(table["p_malignant"] >= 0.3, "malignant", "benign")
    shifted = table.assign(threshold=0.3, correct=(called == table["y_true"]).astype(int))
    assert blocks(shifted)["malignancy"].threshold.tolist() == [[0.3] * 5] * 10
    assert (BLOCKS["malignancy"].threshold == 0.5).all()
    with pytest.raises(ValueError, match="run 0 has more than one threshold"):
        contrasts.check_predictions(shifted.assign(threshold=shifted["threshold"].where(shifted.index != 3, 0.4)))
    with pytest.raises(ValueError, match="threshold outside 0..1"):
        contrasts.check_predictions(shifted.assign(threshold=1.5))


def test_facts_of_an_image_select_images_and_name_no_arm():
    table = TABLE.assign(label_flag=np.where(TABLE["image_id"].str.endswith("3"), "doubtful", ""))
    prepared = blocks(table)
    assert prepared["condition"].arms.columns.tolist() == BLOCKS["condition"].arms.columns.tolist()
    clean = contrasts.answers(prepared, SYNTHETIC, {"label_flag": ""})[1]
    assert 0 < len(clean) < 108 and not clean["image_id"].str.endswith("3").any()


def test_blocks_keep_probabilities():
    block = BLOCKS["malignancy"]
    arm, run, image = 3, 2, 5
    row = TABLE[(TABLE["arm"] == block.arms["arm"][arm]) & (TABLE["run"] == block.runs[run])]
    row = row[row["image_id"] == block.images["image_id"][image]].iloc[0]
    assert block.p[arm, run, image] == pytest.approx([row["p_benign"], row["p_malignant"]])


def test_sizes():
    table = sizes(BLOCKS).set_index("task")
    assert table.loc["condition"].tolist() == [20, 5, 108, 54, 0]


def test_select():
    assert set(contrasts.select(TABLE, n=8, ratio=[0, 10])["ratio"]) == {0, 10}
    assert set(contrasts.select(TABLE, method=None)["ratio"]) == {0}
    with pytest.raises(ValueError, match="did you mean 'ratio'"):
        contrasts.select(TABLE, ratoi=3)


def test_gain_is_the_difference_of_mean_accuracies():
    part = contrasts.select(TABLE, task="condition", n=8, transforms=True, ratio=[0, 10], fst_group="V-VI")
    means = part.groupby(["ratio", "condition", "cluster_id"])["correct"].mean().groupby(["ratio", "condition"]).mean()
    macro = contrasts.gain(BLOCKS, SYNTHETIC, CONTROL, where={"fst_group": "V-VI"})
    assert macro.estimate == pytest.approx(means[10].mean() - means[0].mean())
    flat = part.groupby(["ratio", "cluster_id"])["correct"].mean().groupby("ratio").mean()
    micro = contrasts.gain(BLOCKS, SYNTHETIC, CONTROL, "micro", {"fst_group": "V-VI"})
    assert micro.estimate == pytest.approx(flat[10] - flat[0])
    swapped = contrasts.gain(BLOCKS, CONTROL, SYNTHETIC, where={"fst_group": "V-VI"})
    assert swapped.estimate == pytest.approx(-macro.estimate) and swapped.p == pytest.approx(macro.p)


def test_gain_is_paired_gain_where_it_can_be():
    part = contrasts.select(TABLE, task="condition", n=8, transforms=True, ratio=[0, 10])
    cells = part.pivot_table(index=["ratio", "run"], columns=["condition", "cluster_id"], values="correct")
    difference = cells.loc[10] - cells.loc[0]
    tables = [difference[name].to_numpy() for name in difference.columns.levels[0]]
    assert np.allclose(contrasts.gain(TABLE, SYNTHETIC, CONTROL)[:9], mrmc.paired_gain(tables)[:9])


def test_difference_of_gains():
    many = {"synthetic 32": {"like": "synthetic", "n": 32}, "control 32": {"like": "control", "n": 32}}
    estimand = "synthetic - control - synthetic 32 + control 32"
    table = contrasts.test_families(BLOCKS, declare({"id": "change", "estimand": estimand}, arms=many))
    change = table.iloc[0]
    sides = [(SYNTHETIC, CONTROL), ({**SYNTHETIC, "n": 32}, {**CONTROL, "n": 32})]
    gains = [contrasts.gain(BLOCKS, *side).estimate for side in sides]
    assert change["estimate"] == pytest.approx(100 * (gains[0] - gains[1])) and change["kind"] == "difference"
    assert np.isfinite(change["p"])
    nothing = contrasts.test_families(
        BLOCKS, declare({"id": "x", "estimand": "synthetic - control - synthetic + control"})
    )
    assert nothing["verdict"].tolist() == ["not estimable"] and "zero" in nothing["flags"][0]


def test_an_ambiguous_or_absent_arm():
    with pytest.raises(ValueError, match=r"names 2 arms, not one.*differ in \['transforms'\]"):
        contrasts.gain(BLOCKS, {"task": "condition", "n": 8, "ratio": 10}, CONTROL)
    with pytest.raises(KeyError, match="no arm with"):
        contrasts.gain(BLOCKS, {**SYNTHETIC, "ratio": 50}, CONTROL)
    with pytest.raises(ValueError, match="names no task"):
        contrasts.gain(BLOCKS, {"n": 8}, CONTROL)
    with pytest.raises(ValueError, match="no test image"):
        contrasts.gain(BLOCKS, SYNTHETIC, CONTROL, where={"fst_group": "VII"})


def test_declared_families():
    declared = declare(
        {"id": "primary"},
        {"id": "C1", "estimand": "synthetic - control - synthetic 32 + control 32"},
        {"id": "C2", "test": "non-superiority", "margin": 0.2, "estimand": "synthetic x25 - synthetic"},
        {"id": "gan", "estimand": "gan - control"},
        {"id": "nobody", "where": {"fst_group": "unknown"}},
        {
            "id": "gain", "family": "F3", "estimand": "malignancy synthetic - malignancy control", "average": "micro",
            "by": {"fst_group": "all"},
        },
        families={"F": {"correction": "holm"}, "F3": {"correction": "holm", "simultaneous": True}},
        arms={
            "synthetic 32": {"like": "synthetic", "n": 32}, "control 32": {"like": "control", "n": 32},
            "synthetic x25": {"like": "synthetic", "ratio": 25}, "gan": {"like": "synthetic", "method": "gan"},
            "malignancy synthetic": {"like": "synthetic", "task": "malignancy"},
            "malignancy control": {"like": "control", "task": "malignancy"},
        },
    )  # fmt: skip
    table = contrasts.test_families(BLOCKS, declared).set_index("id")
    groups = ["gain, I-II", "gain, III-IV", "gain, V-VI"]
    assert list(table.index) == ["primary", "C1", "C2", "gan", "nobody", *groups]
    assert table["kind"].tolist()[:4] == ["gain", "difference", "non-superiority", "gain"]
    assert table.loc["primary", "verdict"] == "gain" and table.loc["primary", "images"] == 108
    primary = contrasts.gain(BLOCKS, SYNTHETIC, CONTROL)
    assert table.loc["primary", "estimate"] == pytest.approx(100 * primary.estimate)
    assert table.loc["primary", "p"] == primary.p
    tested = table.loc[["primary", "C1", "C2"]]
    assert tested["p_adjusted"].tolist() == pytest.approx(multipletests(tested["p"], method="holm")[1])
    assert table.loc["C2", "verdict"] == "no gain above the margin" and table.loc["C2", "upper_bound"] < 20
    c2 = table.loc["C2"]
    assert c2["alternative"] == "less" and table.loc["primary", "alternative"] == "two-sided"
    assert c2["statistic"] == pytest.approx((c2["estimate"] - 20) / c2["se"]), "against the margin, as its p"
    assert c2["p"] == pytest.approx(stats.t.cdf(c2["statistic"], c2["df"])) and np.isnan(c2["low_adjusted"])
    assert c2["upper_bound"] < c2["high_adjusted"] < 20 and c2["bound"] == "Bonferroni-t"
    assert table.loc["primary", ["task", "n"]].tolist() == ["condition", "8"] and table.loc["C1", "n"] == "8, 32"
    assert table.loc["gan", "verdict"] == "not run" and "gan" in table.loc["gan", "flags"]
    assert table.loc["nobody", "verdict"] == "not estimable" and "no test image" in table.loc["nobody", "flags"]
    ours = table[table["family"] == "F3"]
    assert (ours["low_simultaneous"] < ours["low"]).all() and (ours["images"] == 36).all()
    silent = table["p"].isna() & ~table["verdict"].isin(["not run", "not estimable"])
    assert not silent.any()


def test_skin_type_unknown_for_all_is_said():
    table = TABLE[(TABLE["n"] == 8) & TABLE["transforms"]].assign(fst_group="unknown")
    result = contrasts.test_families(table, declare({"id": "gain", "by": {"fst_group": "all"}}))
    assert result["verdict"].tolist() == ["not estimable"] and "no test image" in result["flags"][0]


def test_each_group_against_the_lightest():
    lightest = {"fst_group": "I-II"}
    declared = declare({"id": "more", "by": {"fst_group": ["III-IV", "V-VI"]}, "against": lightest})
    table = contrasts.test_families(BLOCKS, declared).set_index("id")
    gains = {g: contrasts.gain(BLOCKS, SYNTHETIC, CONTROL, where={"fst_group": g}).estimate for g in ("I-II", "V-VI")}
    assert table.loc["more, V-VI", "estimate"] == pytest.approx(100 * (gains["V-VI"] - gains["I-II"]))
    assert table.loc["more, V-VI", "images"] == 72 and (table["kind"] == "difference").all()
    change = contrasts.gain(BLOCKS, SYNTHETIC, CONTROL, where={"fst_group": "V-VI"}, against=lightest)
    assert table.loc["more, V-VI", "p"] == change.p and 100 * change.estimate == table.loc["more, V-VI", "estimate"]


def test_answers():
    correct, images = contrasts.answers(BLOCKS, SYNTHETIC, {"fst_group": "V-VI"})
    part = contrasts.select(TABLE, **SYNTHETIC, fst_group="V-VI")
    assert correct.shape == (5, 36) and correct.mean() == pytest.approx(part["correct"].mean())
    assert set(images["image_id"]) == set(part["image_id"])


def test_small_cells_and_equivalence():
    declared = declare(
        {"id": "cell", "by": {"condition": "all", "fst_group": ["V-VI"]}},
        {"id": "same", "test": "equivalence", "margin": 0.9},
        families={"F": {"correction": "fdr_bh", "min_images": 10}},
    )
    table = contrasts.test_families(TABLE, declared)
    cells = table[table["id"].str.startswith("cell")]
    assert len(cells) == 9 and (cells["verdict"] == "not estimable").all()
    assert cells["flags"].str.contains("4 images, fewer than the 10").all()
    assert table["verdict"].iloc[-1] == "equivalent" and np.isfinite(table["p_by"].iloc[-1])


def test_arms_of_two_tasks_make_no_gain_and_a_margin_must_be_given():
    arms = {"other": {"like": "control", "task": "malignancy"}}
    with pytest.raises(ValueError, match="two arms of a gain differ in their task"):
        contrasts.test_families(BLOCKS, declare({"id": "x", "estimand": "synthetic - other"}, arms=arms))
    with pytest.raises(ValueError, match="'x': non-superiority needs a margin"):
        contrasts.test_families(BLOCKS, declare({"id": "x", "test": "non-superiority"}))


def test_by_dose():
    series = {k: v for k, v in SYNTHETIC.items() if k != "ratio"}
    doses, correct, strata = contrasts.by_dose(BLOCKS, series, CONTROL)
    assert doses.tolist() == [0, 1, 5, 10, 25] and correct.shape == (5, len(strata), 5) and len(set(strata)) == 9
    y = dose_response.analyse(doses, correct, strata, draws=50).points["y"]
    assert y[3] - y[0] == pytest.approx(contrasts.gain(BLOCKS, SYNTHETIC, CONTROL).estimate)
    with pytest.raises(KeyError, match="no arm with a ratio above 0"):
        contrasts.by_dose(BLOCKS, {**series, "method": "gan"}, CONTROL)


def test_copies_of_a_run_count_once():
    """Five copies of one run are one run: not estimable; two copies among five leave four."""
    runs = sorted(TABLE["run"].unique())
    one = TABLE[TABLE["run"] == runs[0]]
    copied = contrasts.gain(pd.concat([one.assign(run=run) for run in runs]), SYNTHETIC, CONTROL)
    assert not copied.estimable and "one run only" in copied.flags[0] and copied.runs == 1
    assert copied.estimate == pytest.approx(contrasts.gain(one, SYNTHETIC, CONTROL).estimate)
    two = pd.concat([TABLE[TABLE["run"] != runs[-1]], one.assign(run=runs[-1])])
    assert (
        contrasts.gain(two, SYNTHETIC, CONTROL)[:9]
        == contrasts.gain(two[two["run"] != runs[-1]], SYNTHETIC, CONTROL)[:9]
    )
    declared = declare({"id": "primary"}, families={"F": {"correction": "holm"}})
    flags = contrasts.test_families(two, declared)["flags"][0]
    assert f"4 distinct of 5 runs: {runs[-1]} repeat earlier ones and are left out" in flags


def test_equal_answers_of_unequal_models_are_no_copies():
    block = BLOCKS["condition"]
    copied, arms = block._replace(correct=block.correct[:, [0, 0, 2]], p=block.p[:, [0, 0, 2]]), range(len(block.arms))
    assert estimands.distinct_runs([(copied, arms)]) == [0, 2]
    assert estimands.distinct_runs([(copied._replace(p=block.p[:, :3]), arms)]) == [0, 1, 2]


def test_few_images_are_never_compared_without_a_word():
    """With three images a group gave "no difference shown", unflagged."""

    by = {"fst_group": ["I-II", "V-VI"]}

    def table(images: int, one: dict | None = None, **family) -> pd.DataFrame:
        kept = TABLE[TABLE["fst_group"] == "V-VI"]["image_id"].unique()[:images]
        few = TABLE[(TABLE["fst_group"] != "V-VI") | TABLE["image_id"].isin(kept)]
        one = one or {"id": "gain", "average": "micro", "by": by}
        declared = declare(one, families={"F": {"correction": "holm", **family}})
        return contrasts.test_families(few, declared).set_index("id")

    assert table(3).loc["gain, V-VI", "verdict"] == "not estimable"
    assert "3 images, fewer than the 10" in table(3).loc["gain, V-VI", "flags"]
    more = {"id": "more", "average": "micro", "by": {"fst_group": ["V-VI"]}, "against": {"fst_group": "I-II"}}
    assert "3 images, fewer than the 10" in table(3, one=more).loc["more, V-VI", "flags"], "the smaller side counts"
    flags = table(9, min_images=2)["flags"]
    assert "in the smallest group" in flags["gain, V-VI"] and "in the smallest group" not in flags["gain, I-II"]
