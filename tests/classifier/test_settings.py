"""Settings of training: one record, saved by 04 and read by whoever trains again; a changed setting breaks nothing."""

import shutil
from pathlib import Path

import pytest
from small_grid import HOW, make_run

from skinsyn.classifier import external_validation, grid
from skinsyn.classifier.settings import Training
from skinsyn.datasets import phantom
from skinsyn.run import pipeline, tables

FEW = phantom.CONDITIONS[:2]
ARMS = [
    {"task": "condition", "n": 2, "ratio": 0, "transforms": True},
    {"task": "condition", "n": 2, "ratio": 2, "method": "in-then-outpaint", "transforms": True},
]
# Another value for every setting.
CHANGED = {
    "body": "tf_efficientnet_lite1",
    "image_size": 48,
    "seed": 5,
    "threads": 2,
    "device": "auto",
    "views": 2,
    "use_flags": ["", "near-copy"],
    "trainable": "head+bn",
    "head": "fastai",
    "epochs": 2,
    "patience": 1,
    "best_model": "last",
    "learning_rate": 3e-3,
    "weight_decay": 0.3,
    "dtype": "bf16",
    "compile": True,
}


def changed(name: str) -> dict:
    """The one setting, and what it cannot be without."""
    whole = {"trainable": "head+bn"} if name in ("dtype", "compile") else {}
    return whole | {name: CHANGED[name]}


def test_every_setting_is_changed_below():
    assert set(CHANGED) == set(Training.names())


@pytest.mark.parametrize("name", [name for name in CHANGED if name != "compile"])  # which needs a C++ compiler
def test_a_changed_setting_is_read_where_classifiers_are_trained_again(name):
    make_run(conditions=FEW, train=3, test=3, replicates=2)
    declared = [{"ratios" if key == "ratio" else key: value for key, value in arm.items()} for arm in ARMS]
    wanted = grid.cells(declared, 1)
    given = grid.read_tables("tiny", wanted)
    training = HOW.but(epochs=1).but(**changed(name))
    tables.save("tiny", "training", training.table(), made_by="04_training_grid")
    keys = grid.run("tiny", wanted, grid.prepare(wanted, given, training))
    predictions, cells = grid.collect(wanted, keys, given.images)
    tables.save("tiny", "cells", cells, made_by="04_training_grid")
    assert Training.of_run("tiny") == training
    other = {"dataset": "phantom", "per_condition": 2, "shift": 1.0, "seed": 3}
    more, _, _ = external_validation.external_images(other, list(FEW), "condition", 32)
    again = external_validation.retrain("tiny", ARMS, Training.of_run("tiny"), more)
    external_validation.check(again, predictions)
    assert len(again) > len(predictions)


def test_settings_survive_their_table_and_a_damaged_one_is_named():
    training = HOW.but(learning_rate=1e-5, use_flags=["", "nan"])
    tables.save("tiny", "training", training.table(), made_by="04_training_grid")
    assert Training.of_run("tiny") == training
    tables.save("tiny", "training", training.table().replace("patience", "patienc"), made_by="04_training_grid")
    with pytest.raises(ValueError, match=r"training.parquet: unknown key 'patienc'; did you mean 'patience'"):
        Training.of_run("tiny")
    with pytest.raises(FileNotFoundError, match="made by notebooks/04_training_grid.ipynb"):
        Training.of_run("other")


@pytest.fixture(scope="module")
def copied(smoke, tmp_path_factory) -> Path:
    """A copy of the smoke profile's run that may be changed."""
    return Path(shutil.copytree(smoke, tmp_path_factory.mktemp("settings") / "smoke"))


# Every setting is changed in one of two runs: those of a frozen body, and those of one that learns, which is slower.
LEARNING = {"trainable": "head+bn", "dtype": "bf16", "image_size": 32, "epochs": 1}
FROZEN = {name: value for name, value in CHANGED.items() if name not in ("trainable", "dtype", "compile")}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [FROZEN, LEARNING], ids=["frozen", "learning"])
def test_the_open_questions_run_after_changed_settings(settings, copied, monkeypatch):
    assert set(FROZEN) | set(LEARNING) == set(CHANGED) - {"compile"}
    monkeypatch.setenv("SKINSYN_RUNS", str(copied / "runs"))
    monkeypatch.setenv("SKINSYN_FIGURES", str(copied / "figures"))
    changes = {f"04.{name}": value for name, value in settings.items()}
    # With matched steps all arms have other names, which the parameters of 07 find all the same.
    changes |= {"04.training_steps": "matched"} if settings is FROZEN else {}
    ran = pipeline.run("smoke", ["04", "07"], changes, force=True)
    assert list(ran) == ["04_training_grid", "07_open_questions"]
    training = Training.of_run("smoke").json()
    assert {name: training[name] for name in settings} == settings
    across = tables.read("smoke", "transfer", made_by="07_open_questions")
    assert not across["flags"].str.startswith("not run").any() and across["estimate"].notna().any()
