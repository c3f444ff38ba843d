"""Arms of the grid: a short declaration becomes a list of cells, one classifier each.

Arms are declared in YAML, a few lines for many cells; a list means each of its values:

    arms:
      - {n: [2, 4, 8, 16], transforms: [false, true]}                                        # real images only
      - {n: [2, 4, 8, 16], ratios: [10], method: in-then-outpaint, transforms: [false, true]}  # and synthetic ones
      - {n: 8, ratios: 10, method: in-then-outpaint, real: false}                             # synthetic images alone
      - {task: malignancy, n: 8, ratios: [0, 10], method: in-then-outpaint, transforms: true}

Keys are the fields of `Arm`, and four more. ratios: one arm per ratio; 0 is real only. mix: [inpaint, gan] shares the
ratio between methods in one arm (of 5 images the first gives 3), where method: [inpaint, gan] would make an arm of
each. real: false leaves the real images out. steps: `matched` shows as many images per epoch as the largest ratio does
that is declared for the same task and n.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skinsyn.run.records import Record, nearest, setting

__all__ = ["METHODS", "TASKS", "Arm", "Cell", "cells", "shares"]

TASKS = ("condition", "malignancy")
METHODS = ("text-to-image", "img2img", "inpaint", "in-then-outpaint", "gan")
NONE = "none"  # a setting that means nothing to an arm without synthetic images
JOINED = "+"  # between the methods of a mix, in names and in the column `method`


@dataclass(frozen=True, kw_only=True)
class Arm(Record):
    """What tells one arm from another; the fields are columns of the predictions and of the cells.

    >>> Arm(n=8, sources=8, ratio=10, method="gan", transforms=True).label
    'real + 10 gan + transforms'
    """

    task: str = setting("condition", "what the classifier tells apart", choices=TASKS)
    n: int = setting(about="real images per class; 0: synthetic images alone", low=0)
    ratio: int = setting(0, "synthetic images per real one; 0: real images alone", low=0)
    method: str = setting(NONE, f"how synthetic images are made: one or more of METHODS, joined by {JOINED}")
    generator: str = setting("fine-tuned", "whose images", choices=("fine-tuned", "base", NONE))
    scope: str = setting("condition", "one generator per condition or one for all", choices=("condition", "all", NONE))
    parents: str = setting(
        "subset",
        "subset: children of the run's own real images; any: as many of the same condition, whoever their parent is "
        "(for text-to-image, which takes nothing of its parent's pixels)",
        choices=("subset", "any", NONE),
    )
    generator_data: str = setting(
        "any",
        "real images that its generators may have seen, as the leakage audit must find: any but the test's; all, of "
        "training and validation; train; matched, no other than the run's own n, by models of its own (by_run of 02)",
        choices=("any", "all", "train", "matched", NONE),
    )
    weight: float = setting(1.0, "of a synthetic image in the loss, where a real one's is 1")
    filter: str = setting(
        "flags",
        "flags: without images whose flag is not among the notebook's use_flags; off: every image",
        choices=("flags", "off", NONE),
    )
    transforms: bool = setting(False, "traditional transforms of the training images")
    steps: str = setting(
        "epochs",
        "epochs: every image once per epoch; matched: as many images per epoch as the largest ratio shows",
        choices=("epochs", "matched"),
    )
    sources: int = setting(about="real images per class whose children the arm sees; n where it has real ones", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        methods = self.method.split(JOINED)
        if self.method != NONE and (unknown := [name for name in methods if name not in METHODS]):
            raise ValueError(f"method is {unknown[0]!r}, expected one of {', '.join(METHODS)}")
        if self.ratio and self.method == NONE:
            raise ValueError(f"ratios above 0 need a method: {', '.join(METHODS)}")
        if 0 < self.ratio < len(methods):
            raise ValueError(f"a ratio of {self.ratio} cannot be shared between so many methods")
        if not self.weight > 0:
            raise ValueError(f"weight is {self.weight:g}, expected a number above 0 (a real image's is 1)")

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """The arm of a row of the predictions, of the cells, or of a table made from them."""
        values = {name: row[name] for name in cls.names() if name in row}
        return cls.read({k: value.item() if isinstance(value, np.generic) else value for k, value in values.items()})

    @property
    def label(self) -> str:
        """A short name for figures: what the arm trains on, whatever the number of real images."""
        kind = "" if self.generator in (NONE, "fine-tuned") else f", {self.generator}"
        weight = f", weight {self.weight:g}" if self.weight != 1 else ""
        changed = weight + (", unfiltered" if self.filter == "off" else "")
        synthetic = f"{self.ratio} {self.method}{kind}{changed}" if self.ratio else ""
        parts = ["real" if self.n else "", synthetic, "transforms" if self.transforms else ""]
        return " + ".join(filter(None, parts)) + (", matched steps" if self.steps == "matched" else "")

    def name(self, shown_ratio: int) -> str:
        """The arm's unique name. shown_ratio: of a `Cell`."""
        parts = [self.task, f"n{self.n}" if self.n else f"synthetic alone of n{self.sources}"]
        if self.ratio:
            parts += [f"x{self.ratio}", self.method, self.generator]
            parts += ["one generator for all"] * (self.scope == "all") + ["any parents"] * (self.parents == "any")
            parts += [f"generator data {self.generator_data}"] * (self.generator_data != "any")
            parts += [f"weight {self.weight:g}"] * (self.weight != 1) + ["unfiltered"] * (self.filter == "off")
        parts += ["transforms"] * self.transforms + [f"steps of x{shown_ratio}"] * (self.steps == "matched")
        return "/".join(parts)


@dataclass(frozen=True, kw_only=True)
class Cell(Arm):
    """One classifier: an arm in one run."""

    shown_ratio: int = setting(0, "the ratio whose number of images an epoch shows", low=0)
    arm: str = setting(about="the arm's name")
    run: int = setting(0, "replicate", low=0)


# Without synthetic images their settings mean nothing, and all arms that differ in them alone are one.
REAL_ONLY = dict.fromkeys(("method", "generator", "scope", "parents", "generator_data", "filter"), NONE)


def cells(arms: Sequence[Mapping], runs: int, steps: str = "epochs") -> list[Cell]:
    """All cells of the declared arms, arm by arm, each arm once.

    runs: replicates 0 … runs - 1 of every arm. steps: of arms that do not say. In an arm without real images `n` is 0
    and `sources` says whose children it sees; elsewhere both are the same. Raises ValueError naming the arm and the
    key.

    >>> [cell.arm for cell in cells([{"n": 2, "ratios": [0, 5], "method": "gan"}], runs=1)]
    ['condition/n2', 'condition/n2/x5/gan/fine-tuned']
    """
    if runs < 1:
        raise ValueError(f"runs is {runs}: expected at least 1")
    if not arms:
        raise ValueError("arms is empty: declare at least one, e.g. {n: [8], ratios: [0]}")
    every = [one for declared in arms for one in _arms(declared, steps)]
    top: dict[tuple[str, int], int] = {}
    for one in every:
        top[one.task, one.sources] = max(top.get((one.task, one.sources), 0), one.ratio)
    unique: dict[str, Cell] = {}
    for one in every:
        shown = top[one.task, one.sources] if one.steps == "matched" else one.ratio
        name = one.name(shown)
        unique.setdefault(name, Cell(**one.json(), shown_ratio=shown, arm=name))
    return [cell.but(run=run) for cell in unique.values() for run in range(runs)]


def shares(method: str, ratio: int) -> list[tuple[str, int]]:
    """(method, its synthetic images per real one), as even as can be; the first named give the odd ones.

    >>> shares("inpaint+gan", 5)
    [('inpaint', 3), ('gan', 2)]
    """
    methods = method.split(JOINED)
    return [(name, ratio // len(methods) + (place < ratio % len(methods))) for place, name in enumerate(methods)]


def _arms(declared: Mapping, steps: str) -> list[Arm]:
    """The arms of one declaration, whose lists are spread out. Raises ValueError naming the declaration."""
    where = f"arm {dict(declared)}"
    fields = [field for field in dataclasses.fields(Arm) if field.name not in ("steps", "sources")]
    defaults = {"ratios" if field.name == "ratio" else field.name: field.default for field in fields}
    defaults |= {"n": None, "real": True, "steps": steps}
    for key in declared:
        if key not in (*defaults, "mix"):
            raise ValueError(f"{where}: unknown key {key!r}; {nearest(key, [*defaults, 'mix'])}")
    values = defaults | {key: value for key, value in declared.items() if key != "mix"}
    if "mix" in declared:
        values["method"] = _mixes(declared)
    lists = [value if isinstance(value, list) else [value] for value in values.values()]
    try:
        return [_arm(**dict(zip(values, one, strict=True))) for one in itertools.product(*lists)]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _arm(n: int, ratios: int, real: bool, **others: Any) -> Arm:
    if not isinstance(real, bool):
        raise ValueError(f"real is {real!r}, expected true or false")
    arm = Arm.read({**others, "n": n, "ratio": ratios, "sources": n})
    if not arm.ratio and not real:
        raise ValueError("neither real nor synthetic images are left to train on")
    if not arm.ratio:
        arm = arm.but(**REAL_ONLY, weight=1.0)
    return arm if real else arm.but(n=0)


def _mixes(declared: Mapping) -> list[str]:
    """The mixes of an arm as joined names: `[a, b]` is one mix, `[[a, b], [a, c]]` are two."""
    mixes = declared["mix"] if isinstance(declared["mix"], list) else [declared["mix"]]
    mixes = mixes if all(isinstance(one, list) for one in mixes) else [mixes]
    for one in mixes:
        if "method" in declared or len(one) < 2 or len(set(one)) != len(one) or not set(one) <= set(METHODS):
            raise ValueError(
                f"arm {dict(declared)}: mix is {declared['mix']!r}, expected two or more different methods of "
                f"{', '.join(METHODS)}, and no `method` beside it"
            )
    return [JOINED.join(one) for one in mixes]
