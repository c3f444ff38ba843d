"""Records: what they refuse, and that they come back from JSON as they were."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinsyn.run.records import Record, setting


@dataclasses.dataclass(frozen=True)
class Sampling(Record):
    steps: int = setting(50, "denoising steps", low=1)
    guidance_scale: float = setting(3.0, "classifier-free guidance", low=0, high=100)
    scheduler: str = setting("dpmsolver++", "sampler", choices=("dpmsolver++", "ddim"))
    ratios: tuple = setting((0, 10))
    fast: bool = setting(False)
    about: dict = setting({})


@given(
    st.builds(
        Sampling,
        steps=st.integers(1, 1000),
        guidance_scale=st.floats(0, 100),
        scheduler=st.sampled_from(["dpmsolver++", "ddim"]),
        ratios=st.lists(st.integers()).map(tuple),
        fast=st.booleans(),
    )
)
def test_a_record_survives_json(record: Sampling) -> None:
    assert Sampling.read(json.loads(json.dumps(record.json()))) == record


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stepz": 3}, "unknown key 'stepz'; did you mean 'steps'"),
        ({"steps": 0}, "steps is 0, expected a finite number at least 1"),
        ({"steps": True}, "steps is True, expected int"),
        ({"steps": 2.5}, "steps is 2.5, expected int"),
        ({"guidance_scale": math.inf}, "expected a finite number"),
        ({"guidance_scale": "1e-4"}, "expected float"),
        ({"scheduler": "euler"}, "expected one of dpmsolver"),
        ({"fast": 1}, "fast is 1, expected bool"),
    ],
)
def test_a_wrong_value_is_refused_by_name(given: dict, said: str) -> None:
    with pytest.raises(ValueError, match="params/x.yml: ") as error:
        Sampling.read(given, "params/x.yml")
    assert said in str(error.value)


def test_a_notebooks_other_names_are_left_alone() -> None:
    taken = Sampling.take({"steps": 7, "guidance_scale": 7, "profile": "demo"})
    assert taken == Sampling(steps=7, guidance_scale=7.0)
    assert isinstance(taken.guidance_scale, float)


def test_mutable_defaults_are_not_shared() -> None:
    Sampling().about["x"] = 1
    assert Sampling().about == {}
