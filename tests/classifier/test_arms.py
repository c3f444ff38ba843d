"""What arms may say besides method and ratio: mixes, weights, filters; what a run's arms share; effects that are
planted."""

import itertools
from functools import partial

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_grid import HOW, hues, make_run

from skinsyn.classifier import arms, grid, members
from skinsyn.datasets import phantom
from skinsyn.run import tables
from skinsyn.stats import mrmc

FEW = phantom.CONDITIONS[:3]
IN_OUT = {"method": "in-then-outpaint"}


def test_a_mix_is_one_arm_and_shares_its_ratio():
    made = grid.cells([{"n": 2, "ratios": [0, 4, 5], "mix": ["inpaint", "gan"]}], 1)
    assert [c.method for c in made] == ["none", "inpaint+gan", "inpaint+gan"]
    assert made[1].arm == "condition/n2/x4/inpaint+gan/fine-tuned"
    assert arms.shares("inpaint+gan", 5) == [("inpaint", 3), ("gan", 2)] and arms.shares("gan", 5) == [("gan", 5)]
    two = grid.cells([{"n": 2, "ratios": 2, "mix": [["inpaint", "gan"], ["gan", "text-to-image"]]}], 1)
    assert [c.method for c in two] == ["inpaint+gan", "gan+text-to-image"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"mix": ["inpaint"]}, "two or more different methods"),
        ({"mix": ["inpaint", "inpaint"]}, "two or more different methods"),
        ({"mix": ["inpaint", "paint"]}, "two or more different methods"),
        ({"mix": ["inpaint", "gan"], "method": "gan"}, "no `method` beside it"),
        ({"mix": ["inpaint", "gan", "text-to-image"], "ratios": 2}, "a ratio of 2 cannot be shared"),
        ({"mixed": ["inpaint", "gan"]}, "did you mean 'mix'"),
        ({**IN_OUT, "weight": 0}, "weight is 0, expected a number above 0"),
        ({**IN_OUT, "weight": "half"}, "weight is 'half'"),
        ({**IN_OUT, "filter": "near-copy"}, "filter is 'near-copy', expected one of"),
    ],
)
def test_a_wrong_mix_weight_or_filter_is_refused(more, told):
    with pytest.raises(ValueError, match=told):
        grid.cells([{"n": 2, "ratios": 4} | more], 1)


def test_weights_and_filters_name_their_arms_and_mean_nothing_without_synthetic_images():
    declared = [
        {"n": 2, "ratios": [0, 4], **IN_OUT, "weight": [1, 0.1]},
        {"n": 2, "ratios": 4, **IN_OUT, "filter": "off"},
    ]
    made = {c.arm: c for c in grid.cells(declared, 1)}
    first = "condition/n2/x4/in-then-outpaint/fine-tuned"
    assert list(made) == ["condition/n2", first, f"{first}/weight 0.1", f"{first}/unfiltered"]
    assert made["condition/n2"].weight == 1 and made["condition/n2"].filter == "none"
    labels = [c.label for c in made.values()]
    assert labels[2:] == ["real + 4 in-then-outpaint, weight 0.1", "real + 4 in-then-outpaint, unfiltered"]


def test_a_mix_takes_children_of_every_method_and_says_which_lack():
    *_, synthetic = make_run(conditions=FEW, train=2, replicates=2, methods=("inpaint", "text-to-image"), draw=hues)
    one, none = grid.cells(
        [{"n": 2, "ratios": 3, "mix": ["text-to-image", "inpaint"]}, {"n": 1, "ratios": 2, "mix": ["inpaint", "gan"]}],
        1,
    )
    given = grid.read_tables("tiny", [one])
    images = grid.members(one, given).training
    used = synthetic.set_index("image_id").loc[images["image_id"][6:]]
    assert len(images) == 6 * 4 and images["image_id"].is_unique
    assert used.groupby(["parent", "method"]).size().unstack().eq([1, 2]).all().all()
    with pytest.raises(ValueError, match=r"x2/inpaint\+gan.*3 synthetic.*method gan.*but 0 have been made"):
        grid.members(none, given)


def test_an_unfiltered_arm_uses_what_was_flagged_and_a_weight_is_that_of_synthetic_images():
    _, _, synthetic = make_run(conditions=FEW, train=2, replicates=1, draw=hues)
    synthetic.loc[0, "flags"] = "near-copy"
    tables.save("tiny", "synthetic", synthetic, made_by="03_generation")
    same = {"n": 2, "ratios": 1, **IN_OUT}
    filtered, whole, light, alone = grid.cells(
        [same, same | {"filter": "off"}, same | {"weight": 0.25}, same | {"weight": 0.25, "real": False}], 1
    )
    given = grid.read_tables("tiny", [filtered])
    found = [grid.members(cell, given) for cell in (filtered, whole, light, alone)]
    assert [(len(one.training), one.left_out) for one in found] == [(11, 1), (12, 0), (11, 1), (5, 1)]
    assert found[0].weights() is None and found[3].weights() is None, "where all weigh the same there are no weights"
    assert found[2].weights().tolist() == [1.0] * 6 + [0.25] * 5


options = st.fixed_dictionaries(
    {"n": st.sampled_from([1, 2, 4]), "ratios": st.sampled_from([0, 1, 2])},
    optional={
        "transforms": st.booleans(), "steps": st.sampled_from(["epochs", "matched"]), "weight": st.sampled_from([0.5,
        1]),
        "filter": st.sampled_from(["flags", "off"]), "parents": st.sampled_from(["subset", "any"]),
        "task": st.sampled_from(["condition", "malignancy"]),
    },
)  # fmt: skip


def test_whatever_arms_are_declared_those_of_a_run_share_real_images_seed_and_test_set():
    real, subsets, _ = make_run(conditions=(*phantom.CONDITIONS[:2], *phantom.MALIGNANT[:1]), train=4, draw=hues)
    given_tables = members.tables_of("tiny", synthetic_too=True)
    how = grid.Prepared(HOW, "x")

    @settings(max_examples=40, deadline=None)
    @given(st.lists(options, min_size=2, max_size=4))
    def check(declared):
        wanted = grid.cells([arm | IN_OUT for arm in declared], 2)
        planned = [grid.plan(cell, how, given_tables) for cell in wanted]
        for one, other in itertools.combinations(planned, 2):
            if one.cell.run != other.cell.run or one.cell.task != other.cell.task:
                continue
            small, large = sorted((one, other), key=lambda p: p.cell.n)
            first, second = (set(p.images.training["image_id"][: p.images.n_real]) for p in (small, large))
            assert first <= second and (len(first) < len(second)) == (small.cell.n < large.cell.n)
            assert one.parameters["seed"] == other.parameters["seed"]
            for part in ("validation", "test"):
                assert getattr(one.images, part).equals(getattr(other.images, part))
        for one in planned:
            ranked = subsets[(subsets["run"] == one.cell.run) & (subsets["rank"] < one.cell.n)]
            assert set(one.images.training["image_id"][: one.images.n_real]) == set(ranked["image_id"])
            held = set(real.loc[real["split"] != "train", "image_id"])
            assert not held & set(one.images.training["image_id"])

    check()


def answers(declared, runs=4, draw=hues, **about) -> pd.DataFrame:
    """Predictions on planted colours, through the whole grid."""
    make_run(conditions=FEW, train=12, validation=6, test=40, runs=runs, draw=draw, **about)
    wanted = grid.cells(declared, runs)
    given_tables = grid.read_tables("tiny", wanted)
    how = grid.prepare(wanted, given_tables, HOW.but(epochs=25, learning_rate=3e-3))
    predictions, _ = grid.collect(wanted, grid.run("tiny", wanted, how), given_tables.images)
    return predictions


def accuracies(declared, **about) -> dict[str, float]:
    """Mean accuracy of each arm."""
    return answers(declared, **about).groupby("arm")["correct"].mean().to_dict()


def test_a_planted_effect_is_found_and_is_what_as_many_real_images_give():
    declared = [{"n": 2, "ratios": [0, 5], **IN_OUT, "steps": "matched"}, {"n": 12}]
    found = accuracies(declared, replicates=5, draw=partial(hues, strength=60))
    gain = found["condition/n2/x5/in-then-outpaint/fine-tuned/steps of x5"] - found["condition/n2/steps of x5"]
    expected = found["condition/n12"] - found["condition/n2/steps of x5"]
    assert gain > 0.06 and gain == pytest.approx(expected, abs=0.06), found


def test_a_planted_null_shows_no_gain_where_steps_are_matched():
    """Copies come in other batches than the originals shown again, so training differs by chance: six runs even that
    out."""
    declared = [{"n": 4, "ratios": [0, 5], **IN_OUT, "steps": "matched"}]
    found = answers(declared, runs=6, replicates=5, copies=True).astype({"correct": float})
    real, copied = (part.pivot(index="run", columns="image_id", values="correct") for _, part in found.groupby("arm"))
    gain = mrmc.paired_gain([(copied - real).to_numpy()])
    assert gain.low < 0 < gain.high and abs(gain.estimate) < 0.04, gain


def test_a_light_weight_undoes_what_wrong_images_do():
    """Synthetic images of another class do harm, and the less the less they weigh."""
    _, _, synthetic = make_run(conditions=FEW, train=12, validation=6, test=40, runs=2, draw=hues)
    turned = dict(zip(FEW, (*FEW[1:], FEW[0]), strict=True))
    wanted = grid.cells([{"n": 8, "ratios": 2, **IN_OUT, "weight": [0.01, 1.0]}, {"n": 8}], 2)
    moved, picture = synthetic.copy(), ["image_id", "unit", "row"]
    for _, part in synthetic.groupby("replicate"):
        of = {name: group for name, group in part.groupby("condition")}
        for name, group in of.items():
            moved.loc[group.index, picture] = of[turned[name]][picture].to_numpy()
    tables.save("tiny", "synthetic", moved, made_by="03_generation")
    given_tables = grid.read_tables("tiny", wanted)
    how = grid.prepare(wanted, given_tables, HOW.but(epochs=25, learning_rate=3e-3))
    predictions, _ = grid.collect(wanted, grid.run("tiny", wanted, how), given_tables.images)
    found = predictions.groupby("arm")["correct"].mean()
    light, heavy = (found[f"condition/n8/x2/in-then-outpaint/fine-tuned{end}"] for end in ("/weight 0.01", ""))
    assert heavy < light - 0.1 and abs(light - found["condition/n8"]) < 0.08, found.to_dict()
