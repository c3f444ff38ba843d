"""What tests of the generator share: five phantoms of two conditions in a store of their own, a small base, and
plans."""

import os
import signal
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import small_base

from skinsyn import images
from skinsyn.datasets import phantom
from skinsyn.diffusion import dreambooth, generation, references
from skinsyn.diffusion.settings import TASKS, FineTune, Model, Reference, Sampling, ShardTask, Taught, Tuning, read_plan
from skinsyn.run import compute, store

TUNING = {
    "image_size": 64, "steps": 2, "epochs": 1, "batch_size": 2, "learning_rate": 1e-3, "accumulation": 1,
    "prompt": "An image of {condition}, a skin disease", "add_skin_type": True, "crop_scale": [0.9, 1.1],
    "crop_ratio": [0.9, 1.1], "jitter": 0.05, "flip": True, "mask_fraction": 0.25, "dtype": "fp32", "seed": 0,
    "mask_shares": {"rectangle": 0.4, "ellipse": 0.4, "centre": 0.2},
}  # fmt: skip
DRAWING = {
    "sampling_steps": 2, "guidance_scale": 3.0, "mask_fraction": 0.25, "strength_inpaint": 0.97,
    "strength_outpaint": 0.95,
    "outpaint_border": 1 / 32, "batch_size": 2, "near_copy_distance": 0, "dtype": "fp32", "seed": 0,
}  # fmt: skip
TAUGHT = {"image_size": 64, "prompt": "An image of {condition}, a skin disease", "add_skin_type": False}


@pytest.fixture(scope="session")
def study_place(tmp_path_factory):
    """A store with five phantoms of two conditions, and references to a small base."""
    root = tmp_path_factory.mktemp("study")
    names = phantom.CONDITIONS[:2]
    frame = pd.DataFrame(
        {"image_id": ["d", "b", "c", "a", "e"], "condition": [*names, *names, names[0]], "fst": [1, 5, -1, 6, 2]}
    )
    drawn = [
        phantom.draw(c, abs(f), seed=i).image for i, (c, f) in enumerate(zip(frame.condition, frame.fst, strict=True))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINSYN_RUNS", str(root / "runs"))
        unit = store.key_of("shard", images.RECIPE, {"test": "study"}, {}, 0)
        store.keep("shard", unit, lambda folder: images.write_shard(folder, np.stack(drawn), frame[["image_id"]]))
        base = Reference(name=small_base.write(root / "base"))
        bases = {task: references.prepare_base(base, task, frame, {}, 0, 1) for task in TASKS}
    models = {
        Model(generator="base", task=t, condition=c): Taught(base=b, **TAUGHT)
        for t, b in bases.items()
        for c in ("all", *names)
    }
    return root / "runs", frame.assign(unit=unit, row=range(5), fst_group="unknown"), bases, models


@pytest.fixture
def study(study_place, own_runs, monkeypatch):
    """frame, bases and models, with that store in use, and functions that plan, make and compare."""
    runs, frame, bases, models = study_place
    monkeypatch.setenv("SKINSYN_RUNS", str(runs))

    def tune(**changed) -> list[Tuning]:
        """Text-to-image and inpainting tasks of one condition."""
        return dreambooth.plan(frame, [phantom.CONDITIONS[0]], bases, FineTune.read({**TUNING, **changed}), 1)

    def draw(method: str, **changed) -> list[ShardTask]:
        """Tasks of one replicate of both conditions, by the untouched base."""
        entry = {"method": method, "generator": "base", "scope": "condition", "replicates": 1}
        return generation.plan(frame, models, read_plan([entry]), Sampling.read({**DRAWING, **changed}), 1)

    def make(tasks: list[ShardTask], spec: str = "serial") -> list[str]:
        compute.fan_out(spec, generation.generate, [(task,) for task in tasks], "test")
        return generation.keys_of(tasks)

    return SimpleNamespace(frame=frame, bases=bases, models=models, tune=tune, draw=draw, make=make, digest=digest)


def digest(kind: str, key: str) -> dict[str, str]:
    """What a unit holds, file by file."""
    return {name: about["sha256"] for name, about in store.manifest(kind, key)["files"].items()}


@pytest.fixture
def killed():
    """killed(work): run `work` in a child process that must end by SIGKILL, its own or another's."""

    def run(work: Callable[[], object], seconds: float = 120) -> None:
        child = os.fork()
        if child == 0:
            try:
                work()
            finally:
                os._exit(3)  # it should have been killed
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"it ended with {status}"
                return
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hung")

    return run
