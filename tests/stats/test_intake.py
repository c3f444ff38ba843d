"""Somebody else's table: what may be left out is filled in and said, what cannot be understood is named."""

import numpy as np
import pandas as pd
import pytest
from foreign import answers, binary

from skinsyn.stats import by_group, detection, estimands, intake
from skinsyn.stats.contract import decimals
from skinsyn.stats.predictions import blocks, check_predictions, groups_of


def adapted(table, positive=""):
    frame, remarks = intake.adapt(table, positive)
    return blocks(frame), remarks + check_predictions(frame)


def test_right_and_wrong_answers_are_enough():
    grid, remarks = adapted(answers())
    block = grid["answers"]
    assert block.p is None and block.classes == ["melanoma", "nevus", "wart"] and block.runs == [0]
    assert any("no column run" in one for one in remarks)
    assert any("no columns p_<class>; error rates, AUROC and calibration are not run" in one for one in remarks)
    areas = by_group.auroc_gains(grid, {"arm": "app A"}, {"arm": "app B"})
    assert areas["flags"][0].startswith("not run: ")


def test_error_rates_of_answers_without_probabilities_are_not_run_with_the_reason():
    table = binary().drop(columns=["p_0", "p_1"])
    grid, _ = adapted(table)
    with pytest.raises(estimands.NotRun, match="'answers' has no probabilities .columns p_<class>., only right and"):
        detection.of_arms(grid, [{"arm": "ours"}])


@pytest.mark.parametrize("groups", [("12", "34", "56"), ("light", "dark"), ("I-II", "V-VI"), (12, 34, 56)])
def test_groups_are_those_of_the_data(groups):
    grid, remarks = adapted(answers(groups=groups, runs=3))
    order = groups_of(map(str, groups))
    assert f"skin-type groups, in this order: {', '.join(order)}" in remarks
    gains = by_group.gains_by_group(grid, {"arm": "app A"}, {"arm": "app B"})
    assert gains["group"].tolist() == ["all", *order] and gains["task"].unique().tolist() == ["answers"]
    assert gains.set_index("group").loc[[str(group) for group in groups], "estimate"].notna().all()
    accuracy = by_group.accuracy_by_group(grid, {"A": {"arm": "app A"}}, draws=20)
    assert set(accuracy["group"]) == {str(group) for group in groups} and accuracy["gap"].notna().all()


def test_unknown_stays_special_beside_other_groups():
    table = answers(groups=("light", "dark", "unknown"), runs=2)
    gains = by_group.gains_by_group(adapted(table)[0], {"arm": "app A"}, {"arm": "app B"})
    assert gains["group"].tolist() == ["all", "dark", "light", "unknown"]


def test_empty_skin_types_become_unknown_and_are_counted():
    table = answers(runs=2)
    table.loc[table["image_id"].isin(["photo 3", "photo 4"]), "fst_group"] = None
    grid, remarks = adapted(table)
    assert "skin type is not given for 2 of 40 images: unknown" in remarks
    assert grid["answers"].images["fst_group"].eq("unknown").sum() == 2
    grid, remarks = adapted(table.drop(columns="fst_group"))
    assert "skin type is not given for 40 of 40 images: unknown" in remarks
    grid, remarks = adapted(table.drop(columns="fst_group").assign(fst=5))
    assert grid["answers"].groups == ["I-II", "III-IV", "V-VI"] and any("groups are those of fst" in r for r in remarks)


@pytest.mark.parametrize("written", [("yes", "no"), ("True", "False"), ("TRUE", "false"), (True, False), (1.0, 0.0)])
def test_right_and_wrong_may_be_written_in_words(written):
    table = answers()
    table["correct"] = table["correct"].map({1: written[0], 0: written[1]})
    assert adapted(table)[0]["answers"].correct.sum() == answers()["correct"].sum()


def test_other_words_are_refused_with_the_column_and_the_values():
    table = answers()
    table["correct"] = table["correct"].map({1: "ja", 0: "no"})
    with pytest.raises(ValueError, match=r"column 'correct' holds 'ja' in \d+ rows; expected 1 or 0, true or false"):
        intake.adapt(table)
    with pytest.raises(ValueError, match="column 'correct' holds 2"):
        intake.adapt(answers().assign(correct=2))
    with pytest.raises(ValueError, match="column 'correct' holds 'yes', expected 0 and 1"):
        check_predictions(intake.adapt(answers()).frame.assign(correct="yes"))


def test_needed_columns_are_named():
    with pytest.raises(ValueError, match=r"lack the columns \['cluster_id'\].*own patient, copy image_id"):
        intake.adapt(answers().drop(columns="cluster_id"))


@pytest.mark.parametrize("classes", [("0", "1"), ("benign", "malignant"), (0, 1)])
def test_the_usual_positive_class_needs_no_naming(classes):
    grid, remarks = adapted(binary(classes))
    found = detection.of_arms(grid, [{"arm": "ours"}, {"arm": "theirs"}])
    assert found.block.positive == str(classes[1]) and found.truth.sum() == 20
    assert found.scores[:, :, found.truth == 1].mean() > 0.6
    assert by_group.auroc_gains(grid, {"arm": "ours"}, {"arm": "theirs"})["estimate"].notna().any()
    assert f"task 'answers': the class to be found is '{classes[1]}', the other is '{classes[0]}'" in remarks


def test_other_classes_are_asked_for():
    table = binary(("melanoma", "nevus"))
    with pytest.raises(
        ValueError, match="which of its classes is to be found, 'melanoma' or 'nevus'.*--positive nevus"
    ):
        intake.adapt(table)
    found = detection.of_arms(adapted(table, "melanoma")[0], [{"arm": "ours"}])
    assert found.truth.sum() == 40
    with pytest.raises(ValueError, match="--positive wart: no task has two classes.*answers: melanoma, nevus"):
        intake.adapt(table, "wart")


def test_rounded_probabilities_are_taken_as_rounded():
    rng = np.random.default_rng(5)
    table = pd.concat([answers(images=60, runs=2)] * 1)
    p = rng.dirichlet([1, 1, 1], len(table))
    names = np.array(["melanoma", "nevus", "wart"])
    table = table.assign(correct=(names[p.argmax(1)] == table["y_true"]).astype(int))
    table[[f"p_{name}" for name in names]] = p.round(2)
    assert np.abs(p.round(2).sum(1) - 1).max() > 1e-3
    remarks = adapted(table)[1]
    assert any("probabilities are rounded to 2 decimals and sum to 0.99 to 1.01" in one for one in remarks)
    with pytest.raises(ValueError, match="do not sum to 1, though rounded to 2 decimals"):
        adapted(table.assign(p_wart=table["p_wart"] + 0.05))


def test_a_tie_by_rounding_contradicts_no_answer():
    table = binary(images=30, runs=2)
    score = np.where(table["y_true"] == "1", 0.5 + 0.004, 0.5 - 0.004)
    table = table.assign(p_1=score.round(2), p_0=(1 - score).round(2), correct=1)
    assert adapted(table)[0]["answers"].correct.all()
    table = table.assign(threshold=0.502)  # a score of .504 is above it, its rounding to .50 below
    assert adapted(table)[0]["answers"].correct.all()
    with pytest.raises(ValueError, match="contradicts the probabilities"):
        adapted(table.assign(p_1=0.25, p_0=0.75))


def test_decimals():
    assert decimals(np.array([0.1, 0.25])) == 2 and decimals(np.float32([0.1, 0.9])) == 1
    assert decimals(np.array([1.0, 0.0])) is None and decimals(np.array([1 / 3])) is None
