"""How the classifiers of a grid are trained: the record that 04 fills in, saves with its tables, and 07 reads again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from skinsyn.run import tables
from skinsyn.run.records import Record, setting

from .features import Extraction
from .heads import POOL

__all__ = ["Training"]

LOOP = ("trainable", "head", "epochs", "patience", "best_model", "learning_rate", "weight_decay")


@dataclass(frozen=True)
class Training(Record):
    """Settings shared by all cells of a grid; fields as in the parameters cell of 04.

    >>> Training(epochs=3).but(patience=1).patience
    1
    """

    body: str = setting("tf_efficientnet_lite0", "timm model with ImageNet weights")
    image_size: int = setting(128, "side of the images that the body sees", unit="pixels", low=1)
    seed: int = setting(0, "root of every other seed")
    threads: int = setting(1, "torch threads per worker", low=1)
    device: str = setting("auto", "torch device; auto is the GPU where there is one")
    views: int = setting(2, "random views per training image of a frozen body", low=0)
    use_flags: list = setting([""], "flags of synthetic images that may be used")
    trainable: str = setting("head", "what is trained", choices=("head", "head+bn", "all"))
    head: str = setting("linear", "classification head", choices=tuple(POOL))
    epochs: int = setting(50, "epochs at most", low=1)
    patience: int = setting(3, "epochs without a lower validation loss before stopping", low=1)
    best_model: str = setting("restore", "which epoch answers", choices=("restore", "last"))
    learning_rate: float = setting(1e-3, "of AdamW, constant", low=0)
    weight_decay: float = setting(0.01, "of AdamW", low=0)
    dtype: str = setting("fp32", "arithmetic of body and head", choices=("fp32", "bf16"))
    compile: bool = setting(False, "the training step through torch.compile")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trainable == "head" and (self.dtype != "fp32" or self.compile):
            raise ValueError(
                "dtype and compile are for trainable head+bn or all: a head on kept features is too small to gain"
            )

    def key_fields(self) -> dict[str, Any]:
        """Settings of the loop, which decide a cell's key; of `dtype` and `compile` those that are not the default."""
        changed = [name for name in ("dtype", "compile") if getattr(self, name) != getattr(Training, name)]
        return {name: getattr(self, name) for name in (*LOOP, *changed)}

    def extraction(self, shard: str, views: Sequence[int] = (0,), image_ids: list[str] | None = None) -> Extraction:
        """What the frozen body sees in a shard."""
        shared = {name: getattr(self, name) for name in ("body", "image_size", "seed", "threads")}
        return Extraction(shard, views=list(views), image_ids=image_ids, pool=POOL[self.head], **shared)

    def table(self) -> pd.DataFrame:
        """One row per setting: its name, and its value as JSON."""
        values = self.json()
        return pd.DataFrame({"setting": values.keys(), "value": [json.dumps(value) for value in values.values()]})

    @classmethod
    def of_run(cls, profile: str) -> Self:
        """The settings with which 04 trained the classifiers of a profile. Raises FileNotFoundError before 04 has
        run."""
        saved = tables.read(profile, "training", made_by="04_training_grid")
        values = {name: json.loads(value) for name, value in zip(saved["setting"], saved["value"], strict=True)}
        return cls.read(values, where=str(tables.path(profile, "training")))
