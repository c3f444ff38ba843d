"""Cells: declared in short, paired exactly, kept one by one, and refused with a name where something is missing."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import torch
from small_grid import HOW, make_run, noise

from skinsyn.classifier import arms, grid, summary
from skinsyn.datasets import phantom
from skinsyn.run import store, tables
from skinsyn.stats import contrasts

IN_OUT = {"method": "in-then-outpaint"}
PINNED, PINNED_CELL = ("2.14.1", "2.4.6"), {"AVX2": "52cf7327517ea7d1"}  # torch and numpy; the digest by CPU
FEW = phantom.CONDITIONS[:2] + tuple(phantom.MALIGNANT)[:1]


def test_a_declaration_becomes_cells():
    made = grid.cells([{"n": [2, 4], "transforms": [False, True]}, {"n": 4, "ratios": [0, 10], **IN_OUT}], runs=3)
    assert len(made) == 3 * 5  # the second arm of ratio 0 is the first's
    assert made[0].arm == "condition/n2" and made[0].method == made[0].generator == "none"
    assert {cell.arm for cell in made if cell.ratio} == {"condition/n4/x10/in-then-outpaint/fine-tuned"}


@pytest.mark.parametrize(
    ("arm", "told"),
    [
        ({"n": 2, "ratio": [1]}, "did you mean 'ratios'"),
        ({"n": 2, "ratios": [1]}, "need a method"),
        ({"n": 0}, "at least 1"),
        ({"n": "8"}, "n is '8'"),
        ({"n": 2, "real": False}, "neither real nor synthetic"),
        ({"n": 2, "ratios": 1, "method": "inpainting"}, "method is 'inpainting'"),
        ({}, "n is None"),
    ],
)
def test_a_wrong_declaration_is_refused(arm, told):
    with pytest.raises(ValueError, match=told):
        grid.cells([arm], 1)


def test_matched_steps_show_the_control_as_much_as_the_largest_ratio():
    made = {c.arm: c for c in grid.cells([{"n": 2, "ratios": [0, 5], **IN_OUT, "steps": "matched"}], 1)}
    assert {c.shown_ratio for c in made.values()} == {5}
    assert "condition/n2/steps of x5" in made
    others = [{"n": 4, "ratios": 100, **IN_OUT}, {"task": "malignancy", "n": 2, "ratios": 20, **IN_OUT}]
    more = grid.cells([{"n": [2, 4], "ratios": [0, 5], **IN_OUT, "steps": "matched"}, *others], 1)
    shown = {(c.task, c.n, c.shown_ratio) for c in more if c.steps == "matched"}
    assert shown == {("condition", 2, 5), ("condition", 4, 100)}


def test_arms_of_one_run_share_real_images_and_synthetic_ones_are_their_children():
    *_, synthetic = make_run(conditions=FEW, train=4, replicates=3)
    wanted = grid.cells(
        [{"n": [1, 3]}, {"n": 3, "ratios": [2], **IN_OUT}, {"n": 3, "ratios": 2, **IN_OUT, "real": False}], 2
    )
    given = grid.read_tables("tiny", wanted)
    seen = {(c.arm, c.run): grid.members(c, given) for c in wanted}
    for run in range(2):
        one, real = (set(seen[f"condition/n{n}", run].training["image_id"]) for n in (1, 3))
        both = set(seen["condition/n3/x2/in-then-outpaint/fine-tuned", run].training["image_id"])
        alone = set(seen["condition/synthetic alone of n3/x2/in-then-outpaint/fine-tuned", run].training["image_id"])
        assert one < real < both and both - real == alone and len(alone) == 2 * len(real) == 18
        parents = synthetic.set_index("image_id")["parent"]
        assert set(parents[list(alone)]) == real
        assert set(synthetic.set_index("image_id").loc[list(alone), "replicate"]) == {0, 1}
    assert set(seen["condition/n1", 0].training["image_id"]) != set(seen["condition/n1", 1].training["image_id"])


def test_missing_images_are_told_with_the_arm_and_the_notebook():
    make_run(conditions=FEW, train=2, replicates=1)
    many, more, other = (
        grid.cells([arm], 1)[0]
        for arm in ({"n": 3}, {"n": 2, "ratios": 2, **IN_OUT}, {"n": 2, "ratios": 1, "method": "inpaint"})
    )
    given = grid.read_tables("tiny", [more])
    with pytest.raises(ValueError, match=r"condition/n3: 3 real images.*has 2 for training"):
        grid.members(many, given)
    with pytest.raises(ValueError, match=r"n2/x2/in-then-outpaint.*12 synthetic.*6 have been made.*03_generation"):
        grid.members(more, given)
    with pytest.raises(ValueError, match=r"n2/x1/inpaint.*0 have been made, first for r_"):
        grid.members(other, given)
    with pytest.raises(ValueError, match="run 7 is not in the table subsets"):
        grid.members(many.but(run=7), given)


def test_a_missing_table_names_its_notebook():
    make_run(conditions=FEW, train=1)
    tables.path("tiny", "synthetic").unlink()
    with pytest.raises(FileNotFoundError, match="03_generation"):
        grid.read_tables("tiny", grid.cells([{"n": 1, "ratios": 1, **IN_OUT}], 1))


def test_flagged_images_are_left_out_and_counted():
    _, _, synthetic = make_run(conditions=FEW, train=2, replicates=1)
    synthetic.loc[0, "flags"] = "near-copy"
    tables.save("tiny", "synthetic", synthetic, made_by="03_generation")
    cell = grid.cells([{"n": 2, "ratios": 1, **IN_OUT}], 1)[0]
    given = grid.read_tables("tiny", [cell])
    strict, lenient = grid.members(cell, given), grid.members(cell, given, ["", "near-copy"])
    assert (len(strict.training), strict.left_out, len(lenient.training), lenient.left_out) == (11, 1, 12, 0)


def test_conditions_of_malignancy_only_count_there_alone():
    real, *_ = make_run(conditions=FEW, train=2)
    real["malignancy_only"] = real["condition"] == FEW[0]
    tables.save("tiny", "images", real, made_by="01_data_prep")
    condition, malignancy = grid.cells([{"task": ["condition", "malignancy"], "n": 2}], 1)
    given = grid.read_tables("tiny", [condition])
    nine, two = grid.members(condition, given), grid.members(malignancy, given)
    assert nine.classes == sorted(FEW[1:]) and len(nine.training) == 4 and len(nine.test) == 6
    assert two.classes == ["benign", "malignant"] and len(two.training) == 6 and len(two.test) == 9
    assert set(nine.training["image_id"]) < set(two.training["image_id"])


def train_all(wanted):
    given = grid.read_tables("tiny", wanted)
    how = grid.prepare(wanted, given, HOW)
    keys = grid.run("tiny", wanted, how)
    return keys, given, how


def test_the_grid_end_to_end_and_again_with_the_same_bytes(tmp_path, monkeypatch):
    make_run(conditions=FEW, train=4)
    wanted = grid.cells(
        [
            {"n": [2, 4], "transforms": [False, True]},
            {"task": ["condition", "malignancy"], "n": 2, "ratios": [0, 2], **IN_OUT},
        ],
        2,
    )
    keys, given, how = train_all(wanted)
    predictions, cells = grid.collect(wanted, keys, given.images)
    assert len(cells) == len(wanted) == 14 and len(predictions) == 14 * 9
    assert contrasts.check_predictions(predictions) == []
    assert set(predictions["image_id"]) == set(given.images.loc[given.images["split"] == "test", "image_id"])
    assert cells.set_index("arm").loc["condition/n2/x2/in-then-outpaint/fine-tuned", "n_synthetic"].eq(12).all()
    table = summary.accuracy(predictions)
    assert len(table) == 7 and table["accuracy"].between(0, 1).all() and (table["low"] <= table["accuracy"]).all()
    by_group = summary.by_group(predictions)
    assert by_group.groupby(["task", "arm", "n"])["images"].sum().eq(9).all()

    before = {key: store.manifest("cell", key)["files"] for key in keys}
    stamp = {key: (store.unit_dir("cell", key) / "manifest.json").stat().st_mtime_ns for key in keys}
    lost = store.unit_dir("cell", keys[5])
    lost.rename(lost.with_name("elsewhere"))
    assert train_all(wanted)[0] == keys
    assert {key: store.manifest("cell", key)["files"] for key in keys} == before
    made = [key for key in keys if (store.unit_dir("cell", key) / "manifest.json").stat().st_mtime_ns != stamp[key]]
    assert made == [keys[5]], "only the lost cell is trained again"


def test_two_swapped_cells_are_refused_and_trained_again(capsys):
    make_run(conditions=FEW, train=4)
    wanted = grid.cells([{"n": [2, 4]}], 1)
    keys, given, _ = train_all(wanted)
    whole, _ = grid.collect(wanted, keys, given.images)
    one, two = (store.unit_dir("cell", key) for key in keys)
    one.rename(one.with_name("aside"))
    two.rename(one)
    one.with_name("aside").rename(two)
    with pytest.raises(ValueError, match=f"cell/{keys[0]} is damaged.*that of another unit, cell/{keys[1]}"):
        grid.collect(wanted, keys, given.images)
    assert train_all(wanted)[0] == keys and capsys.readouterr().out.count("set aside as") == 2
    pd.testing.assert_frame_equal(grid.collect(wanted, keys, given.images)[0], whole)


def test_the_same_grid_trains_whole_networks_on_the_memmap():
    make_run(conditions=FEW, train=2)
    wanted = grid.cells([{"n": 2, "ratios": 1, **IN_OUT, "transforms": True}], 1)
    given = grid.read_tables("tiny", wanted)
    how = grid.prepare(wanted, given, HOW.but(trainable="head+bn", epochs=2))
    predictions, cells = grid.collect(wanted, grid.run("tiny", wanted, how), given.images)
    assert len(predictions) == 9 and cells["epochs"].iloc[0] == 2


def test_precision_is_part_of_a_cells_key_and_its_default_is_not():
    make_run(conditions=FEW, train=2)
    (cell,) = grid.cells([{"n": 2}], 1)
    given, how = grid.read_tables("tiny", [cell]), HOW.but(trainable="head+bn")
    keys = [
        grid.plan(cell, grid.Prepared(how.but(**more), "x"), given).key
        for more in ({}, {"dtype": "fp32", "compile": False}, {"dtype": "bf16"}, {"compile": True})
    ]
    assert keys[0] == keys[1] and len(set(keys)) == 3, "cells that are kept stay kept"


def test_what_decides_a_cell_is_what_its_record_says():
    make_run(conditions=FEW, train=2)
    (cell,) = grid.cells([{"n": 2, "ratios": 1, **IN_OUT, "transforms": True, "weight": 0.5}], 1)
    how = HOW.but(head="fastai", views=3, seed=4)
    planned = grid.plan(cell, grid.Prepared(how, "x"), grid.read_tables("tiny", [cell]))
    assert planned.parameters == {
        **{"trainable": "head", "head": "fastai", "epochs": 4, "patience": 3, "best_model": "restore"},
        **{"learning_rate": 1e-3, "weight_decay": 0.01, "seed": planned.parameters["seed"], "transforms": True},
        **{"shown": None, "body": "tf_efficientnet_lite0", "image_size": 32, "classes": sorted(FEW), "features": 3},
        **{"device": "cpu", "optimiser": {"betas": (0.9, 0.99), "eps": 1e-5}, "weight": 0.5, "n_real": 6},
        **{"root": 4, "views": 3},
    }


def test_recipe_pins_the_bytes():
    here, cpu = (store.pins()["torch"], store.pins()["numpy"]), torch.backends.cpu.get_cpu_capability()
    if here != PINNED or cpu not in PINNED_CELL:
        pytest.skip(f"the digests belong to {PINNED} and {list(PINNED_CELL)}, this is {here} and {cpu}")
    make_run(conditions=FEW, train=2, draw=noise)
    wanted = grid.cells([{"n": 2, "transforms": True}], 1)
    keys, *_ = train_all(wanted)
    answers = pd.read_parquet(store.unit_dir("cell", keys[0]) / "predictions.parquet").filter(like="p_").to_numpy()
    digest = hashlib.sha256(np.ascontiguousarray(answers).tobytes()).hexdigest()
    assert (grid.RECIPE, digest[:16]) == (3, PINNED_CELL[cpu]), "raise RECIPE when the bytes of a cell change"


def test_an_interval_over_runs_is_students():
    frame = pd.DataFrame({"run": np.repeat([0, 1, 2], 2), "correct": [1, 0, 1, 1, 0, 0], "y_true": "a", "arm": "x"})
    frame = frame.assign(**arms.Arm(n=1, sources=1).json())
    row = summary.accuracy(frame).iloc[0]
    assert row["accuracy"] == 0.5 and row["low"] == 0 and row["high"] == 1
    assert row["runs"] == 3
