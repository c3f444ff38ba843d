"""Diffusion against a GAN: pairs that differ in nothing else, and a plain `not run` where there is no GAN."""

import numpy as np
import pandas as pd
import pytest
from planted import arm, predictions

from skinsyn.fidelity import gan_comparison
from skinsyn.report import open_answers
from skinsyn.stats.predictions import blocks

GAN = {"method": "gan", "parents": "any"}
ARMS = {
    "control": arm(8, 0),
    "diffusion": arm(8, 5),
    "gan": arm(8, 5, **GAN),
    "other ratio": arm(8, 10),
    "mixed": arm(8, 5, method="inpaint+gan"),
}


def chance(name, images):
    return np.full(len(images), {"diffusion": 0.9, "gan": 0.3}.get(name, 0.5))


def test_only_arms_with_as_many_images_are_compared_and_a_planted_gain_is_found():
    table = gan_comparison.gains(blocks(predictions(ARMS, chance)))
    assert table["id"].tolist() == ["condition, n 8, 5 inpaint, transforms"]
    row = table.iloc[0]
    assert (
        row["estimate"] == pytest.approx(60, abs=8) and row["low"] > 0 and row["verdict"] == "gain" and row["runs"] == 4
    )
    assert open_answers.gan_comparison(table, None).startswith(
        "With as many images of inpaint as of a GAN: Accuracy differs by +"
    )


def test_without_a_gan_it_was_not_run_and_says_how_to_run_it():
    arms = {name: ARMS[name] for name in ("control", "diffusion")}
    table = gan_comparison.gains(blocks(predictions(arms, chance)))
    assert table["verdict"].tolist() == ["not run"]
    said = open_answers.gan_comparison(table, None)
    assert "not run" in said and "gan_baseline" in said and "04_training_grid" in said


def looks(methods):
    rows = {"method": methods, "generator": "fine-tuned", "scope": "condition"}
    distributions = pd.DataFrame(
        rows | {"images": 90, "floor_kid": 0.01, "precision": 0.5, "recall": 0.4, "body": "lite"}
    )
    distributions["kid"] = [0.1 * (i + 1) for i in range(len(methods))]
    recognised = pd.DataFrame(rows | {"condition": "all", "fst_group": "all", "recognised": 0.5})
    generators = pd.DataFrame({"task": ["inpainting", "gan"], "generator": "fine-tuned", "steps": [40, 60]})
    return gan_comparison.fidelity(distributions, recognised, generators)


def test_fidelity_stands_beside_the_steps_that_made_it():
    table = looks(["inpaint", "gan"]).set_index("method")
    assert table["steps"].to_dict() == {"inpaint": 40, "gan": 60} and (table["flags"] == "").all()
    said = open_answers.gan_comparison(gan_comparison.gains(blocks(predictions(ARMS, chance))), table.reset_index())
    assert said.endswith("Its images lie nearer to held-out real ones than the GAN's.")
    assert looks(["inpaint"])["flags"].str.startswith("not run").all()
