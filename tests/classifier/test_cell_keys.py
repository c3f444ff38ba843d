"""Keys of cells and features, pinned: a change of how settings are held must not make anything anew."""

import hashlib
import json

import pytest
from small_grid import HOW, make_run, noise

from skinsyn.classifier import features, grid
from skinsyn.datasets import phantom
from skinsyn.run import store

IN_OUT = {"method": "in-then-outpaint", "ratios": 2}
ARMS = [
    {"n": [1, 2], "transforms": [False, True]},
    {"task": ["condition", "malignancy"], "n": 2, **IN_OUT},
    {"n": 2, **IN_OUT, "weight": 0.5, "filter": "off"},
    {"n": 2, **IN_OUT, "real": False, "transforms": True},
    {"n": 2, "ratios": [0, 2], "method": "in-then-outpaint", "steps": "matched"},
]
CHANGES = {
    "plain": {},
    "fastai": {"head": "fastai", "views": 2},
    "network": {"trainable": "head+bn", "learning_rate": 1e-2},
    "bf16": {"trainable": "all", "dtype": "bf16", "compile": True},
    "others": {"seed": 3, "threads": 2, "body": "another", "image_size": 64, "patience": 1, "best_model": "last"},
}
CELLS = {
    "plain": "00888c851b11c31b",
    "fastai": "4ae3d865523d5955",
    "network": "fd8417b5416a51d0",
    "bf16": "5087dc1e24f55c48",
    "others": "68cceaa4f8339ff9",
}
PLAIN = ["297258d2cc0f59dbeb7309a6", "0de38caf44e787db5849a4b2", "37fc08cee7b6337c16919548"]
FEATURES = {
    "plain": PLAIN,
    "fastai": ["5cc03c27d473e0f9c25b5c91", "b767ba00ab5743430666ce20", "12229fc92834f2364a8004be"],
    "network": PLAIN,
    "bf16": PLAIN,
    "others": ["f4cd0681d0af1d5fcfeaacc3", "cbae4c493c036ded546ab227", "d6a559afe4d19aee0c82ff6d"],
}


@pytest.fixture
def planned(monkeypatch):
    """The cells of ARMS on a small run; nothing pinned here depends on versions, weights or the machine."""
    monkeypatch.setattr(store, "pins", dict)
    monkeypatch.setattr(features, "shared_body", lambda name, *_: (None, f"digest of {name}"))
    make_run(conditions=phantom.CONDITIONS[:2] + tuple(phantom.MALIGNANT)[:1], train=2, draw=noise)
    wanted = grid.cells(ARMS, 2)
    return wanted, grid.read_tables("tiny", wanted)


@pytest.mark.parametrize("changed", CHANGES)
def test_keys_of_cells_are_pinned(planned, changed):
    wanted, given = planned
    how = grid.Prepared(HOW.but(**CHANGES[changed]), "digest of a body")
    keys = [grid.plan(cell, how, given).key for cell in wanted]
    assert len(set(keys)) == len(keys) == 20
    assert hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:16] == CELLS[changed]


@pytest.mark.parametrize("changed", CHANGES)
def test_keys_of_features_are_pinned(planned, changed):
    training = HOW.but(**CHANGES[changed])
    of_shard = [
        training.extraction("shard", views, ids) for views, ids in (([0], None), ([1, 2], None), ([0, 1], ["a"]))
    ]
    assert [one.key() for one in of_shard] == FEATURES[changed]
