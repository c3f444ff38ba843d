"""Stopped or killed at any moment, a fine-tuning goes on from its checkpoint and ends in the same bytes."""

import json
import os
import signal

import pytest
import torch

from skinsyn.diffusion import checkpoints, dreambooth
from skinsyn.run import store

LORA = {"rank": 4, "alpha": 8}
PRIOR = {"weight": 1.0, "images": 3, "steps": 2}
WAYS = {
    "text-to-image": (0, {}),
    "inpainting": (1, {}),
    "a LoRA": (0, {"lora": LORA}),
    "prior preservation": (1, {"prior": PRIOR, "accumulation": 2}),
}


def stop_at(patch, call, how):
    """Let the training end by `how` when the loss is asked for the `call`-th time."""
    loss, calls = dreambooth._loss, []

    def stops(*given):
        calls.append(1)
        if len(calls) == call:
            how()
        return loss(*given)

    patch.setattr(dreambooth, "_loss", stops)


def interrupt():
    raise KeyboardInterrupt


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def set_aside(key, folder):
    store.unit_dir("generator", key).rename(folder)


@pytest.mark.parametrize("way", WAYS)
def test_stopped_at_any_step_it_ends_in_the_same_bytes(study, monkeypatch, tmp_path, way):
    place, changed = WAYS[way]
    task = study.tune(**changed, steps=5, checkpoint_every=2)[place]
    key = dreambooth.fine_tune(task)
    whole = study.digest("generator", key)
    saved = checkpoints.folder_of("generator", key)
    assert not saved.exists()
    for call in (2, 4, 5) if way == "inpainting" else (4,):
        set_aside(key, tmp_path / f"whole-{call}")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stop_at(patch, call * (4 if way == "prior preservation" else 1), interrupt)
            dreambooth.fine_tune(task)
        held = [file.name[:13] for file in saved.glob("*")]
        assert held == {2: [], 4: ["step-00000002"], 5: ["step-00000004"]}[call], (
            "one checkpoint, of the last second step"
        )
        torch.manual_seed(77)
        assert dreambooth.fine_tune(task) == key and study.digest("generator", key) == whole
        assert not saved.exists()


def test_killed_in_the_middle_of_a_step_it_ends_in_the_same_bytes(study, monkeypatch, tmp_path, killed):
    task = study.tune(steps=4, checkpoint_every=1, seed=1)[1]
    key = dreambooth.fine_tune(task)
    whole = study.digest("generator", key)
    set_aside(key, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 3, kill)
        killed(lambda: dreambooth.fine_tune(task))
    assert not store.unit_dir("generator", key).exists()
    asked = []
    loss = dreambooth._loss
    monkeypatch.setattr(dreambooth, "_loss", lambda *given: asked.append(1) or loss(*given))
    assert dreambooth.fine_tune(task) == key and study.digest("generator", key) == whole
    assert len(asked) == 2, "two of four steps were kept"


def test_killed_while_a_checkpoint_is_written_the_one_before_is_used(study, monkeypatch, tmp_path, killed):
    task = study.tune(steps=4, checkpoint_every=1, seed=2)[0]
    key = dreambooth.fine_tune(task)
    whole = study.digest("generator", key)
    set_aside(key, tmp_path / "whole")
    write, calls = checkpoints.save_file, []

    def half(tensors, file, about):
        calls.append(1)
        write(tensors, file, about)
        if len(calls) == 3:
            os.truncate(file, file.stat().st_size // 2)
            kill()

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", half)
        killed(lambda: dreambooth.fine_tune(task))
    left = sorted(file.name[:16] for file in checkpoints.folder_of("generator", key).iterdir())
    assert [name[:13] for name in left] == ["step-00000002", "writing-00000"]
    assert dreambooth.fine_tune(task) == key and study.digest("generator", key) == whole


def test_a_damaged_checkpoint_is_passed_over(study, monkeypatch, tmp_path, capsys):
    task = study.tune(steps=4, checkpoint_every=1, seed=3)[0]
    key = dreambooth.fine_tune(task)
    whole = study.digest("generator", key)
    set_aside(key, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, 4, interrupt)
        dreambooth.fine_tune(task)
    file = next(checkpoints.folder_of("generator", key).iterdir())
    content = bytearray(file.read_bytes())
    length = int.from_bytes(content[:8], "little")
    about = json.loads(content[8 : 8 + length])["__metadata__"]  # safetensors: a JSON header, then numbers; no pickle
    assert about["step"] == "3" and len(json.loads(about["more"])["curve"]) == 3
    content[-9] ^= 4
    file.write_bytes(content)
    dreambooth.fine_tune(task)
    assert study.digest("generator", key) == whole and "damaged" in capsys.readouterr().out
