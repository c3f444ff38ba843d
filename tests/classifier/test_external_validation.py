"""Across data sets: the same classifiers on both sets, as 04 trained them; what is not here or not shared is said."""

import numpy as np
import pandas as pd
import pytest
from small_grid import HOW, make_run

from skinsyn.classifier import external_validation, grid, members
from skinsyn.datasets import phantom
from skinsyn.report import open_answers
from skinsyn.run import paths, tables

FEW = phantom.CONDITIONS[:2] + tuple(phantom.MALIGNANT)[:1]
IN_OUT = {"task": "condition", "n": 2, "method": "in-then-outpaint", "generator": "fine-tuned", "transforms": True}
ARMS = [{"task": "condition", "n": 2, "ratio": 0, "transforms": True}, {**IN_OUT, "ratio": 1}]
# As many images per epoch as the third arm shows, which is not trained again.
DECLARED = [{"n": 2, "transforms": True}, {**IN_OUT, "ratios": [1, 2]}]
OTHER = {"dataset": "phantom", "per_condition": 4, "shift": 1.0, "seed": 3, "fst_weights": [1, 1, 1, 1, 1, 1]}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """(images of the run, predictions of 04, images of the other set, what the retrained classifiers answered)."""
    place = tmp_path_factory.mktemp("transfer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINSYN_RUNS", str(place / "runs"))
        real, *_ = make_run(conditions=FEW, train=4, test=4, replicates=2)
        wanted = grid.cells(DECLARED, 2, "matched")
        data = grid.read_tables("tiny", wanted)
        keys = grid.run("tiny", wanted, grid.prepare(wanted, data, HOW))
        before, cells = grid.collect(wanted, keys, data.images)
        tables.save("tiny", "cells", cells, made_by="04_training_grid")
        more, lost, why = external_validation.external_images(OTHER, list(FEW), "condition", 32)
        assert why == "" and set(lost["reason"]) == {"not a condition of this study"}
        yield real, before, more, external_validation.retrain("tiny", ARMS, HOW, more)


def test_the_other_set_is_brought_as_test_images_of_the_shared_conditions(asked):
    real, _, more, _ = asked
    assert set(more["condition"]) == set(FEW) and len(more) == 12 and (more["split"] == "test").all()
    assert set(more["source"]) == {"phantom, shifted"} and not set(more["image_id"]) & set(real["image_id"])


def test_classifiers_answer_their_own_images_as_before_and_the_others_besides(asked):
    real, before, more, found = asked
    external_validation.check(found, before)
    own = found[~found["image_id"].isin(more["image_id"])]
    assert set(found["arm"]) == {
        f"condition/n2/{name}transforms/steps of x2" for name in ("", "x1/in-then-outpaint/fine-tuned/")
    }
    assert len(own) == (before["ratio"] < 2).sum() and len(found) - len(own) == 2 * 2 * len(more)
    with pytest.raises(
        ValueError, match="do not answer as those of 04_training_grid did .a probability differs by 0.1"
    ):
        external_validation.check(found.assign(**{f"p_{FEW[0]}": found[f"p_{FEW[0]}"] + 0.1}), before)
    with pytest.raises(ValueError, match="has no arm condition/n2"):
        external_validation.check(found, before.assign(arm="x"))


def test_settings_that_name_no_arm_or_several_are_refused(asked, monkeypatch):
    monkeypatch.setattr(
        external_validation.tables, "read", lambda *_, **__: pd.DataFrame({"arm": ["a", "b"], "n": 2, "ratio": [0, 1]})
    )
    for arm, found in (({"n": 3}, "no"), ({"n": 2}, "2")):
        with pytest.raises(ValueError, match=f"04_training_grid has {found} arms with"):
            external_validation.retrain("tiny", [arm], HOW, asked[2])


def test_gains_at_home_elsewhere_and_their_difference(asked):
    _, _, more, found = asked
    table = external_validation.compare(found, more, ARMS[1], ARMS[0])
    whole = table[table["group"] == "all"].set_index("data")
    assert list(whole.index) == ["own", "phantom, shifted", "other minus own"]
    for data in whole.index[:2]:
        change = 100 * (whole.loc[data, "with_synthetic"] - whole.loc[data, "without"])
        assert whole.loc[data, "estimate"] == pytest.approx(change)
    assert whole.loc["other minus own", "estimate"] == pytest.approx(
        whole["estimate"].iloc[1] - whole["estimate"].iloc[0]
    )
    assert "On images of another source (phantom, shifted; 12 images)" in open_answers.external_validation(table)


def test_answers_are_chosen_among_the_shared_classes():
    frame = pd.DataFrame({"y_true": ["a", "b", "c"], "correct": False, "p_a": [0.3, 0.2, 0], "p_b": [0.2, 0.2, 0.1]})
    frame["p_c"] = [0.5, 0.6, 0.9]
    found = external_validation.restrict(frame, ["a", "b"])
    assert found["y_true"].tolist() == ["a", "b"] and found["correct"].tolist() == [True, False] and "p_c" not in found
    assert np.allclose(found[["p_a", "p_b"]], [[0.6, 0.4], [0.5, 0.5]])


def test_what_is_not_here_or_not_shared_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    for other, told in (
        ({}, "no other data set"),
        ({"dataset": "ham10000", "data_folder": "no_such_folder"}, "ham10000 is not here"),
        (OTHER, "shares no condition"),
    ):
        more, lost, why = external_validation.external_images(other, ["melanoma"], "condition", 32)
        assert more is None and lost.empty and why.startswith("not run") and told in why
    with pytest.raises(ValueError, match="expected dataset and some of"):
        external_validation.external_images({"data": "phantom"}, ["melanoma"], "condition", 32)


def test_further_test_images_must_be_new_and_of_known_classes(asked, monkeypatch):
    real, _, more, _ = asked
    given = members.Tables(
        real, {task: members._labelled(real, task) for task in ("condition", "malignancy")}, {}, {}, {}
    )
    joined = members.with_test(given, more)
    assert len(joined.images) == len(real) + len(more) and joined.tasks["condition"][1] == given.tasks["condition"][1]
    for wrong, told in (
        (more.assign(image_id=real["image_id"].iloc[: len(more)].to_numpy()), "is in this run already"),
        (more.assign(split="train"), "not all are of the split test"),
        (more.assign(condition="melanoma"), "melanoma are no classes"),
    ):
        with pytest.raises(ValueError, match=told):
            members.with_test(given, wrong)
