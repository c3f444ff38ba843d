"""Arms as records: the cells of every profile are those that were trained before arms were records, in their order."""

import hashlib
import json
import pickle

import pandas as pd
import pytest

from skinsyn.classifier.arms import Arm, Cell, cells
from skinsyn.run import params

PINS = {
    "smoke": (30, "5a0331ad0440fd0a"),
    "demo": (340, "9e163e7880c48641"),
    "demo-open": (400, "0d57ea17842f47b2"),
    "pad_ufes_20": (135, "6e64100e38d6035e"),
    "fitzpatrick17k": (855, "7d270cffc57fcea0"),
    "ddi": (510, "de37da3e719ec8db"),
}


@pytest.mark.parametrize("profile", PINS)
def test_the_cells_of_a_profile_are_pinned(profile):
    grid = params.of_profile(profile)["04_training_grid"]
    made = [cell.json() for cell in cells(grid["arms"], grid["runs"], grid["training_steps"])]
    assert (len(made), hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]) == PINS[profile]


def test_an_arm_is_read_back_from_its_row_and_travels_to_workers():
    (cell,) = cells([{"n": 2, "ratios": 4, "method": "gan", "weight": 0.5, "transforms": True}], 1)
    frame = pd.DataFrame([cell.json()])
    assert Arm.of_row(frame.iloc[0]) == Arm.of_row(frame.to_dict("records")[0])
    assert Cell.of_row(frame.iloc[0]) == cell == pickle.loads(pickle.dumps(cell))
    assert Arm.of_row(frame.iloc[0]).label == cell.label == "real + 4 gan, weight 0.5 + transforms"
    with pytest.raises(ValueError, match="real is 'no', expected true or false"):
        cells([{"n": 2, "ratios": 1, "method": "gan", "real": "no"}], 1)
