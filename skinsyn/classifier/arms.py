"""Arms of the grid: a short declaration becomes a list of cells, one classifier each.

Arms are declared in YAML, a few lines for many cells; a list means each of its values:

    arms:
      - {n: [2, 4, 8, 16], transforms: [false, true]}                                        # real images only
      - {n: [2, 4, 8, 16], ratios: [10], method: in-then-outpaint, transforms: [false, true]}  # and synthetic ones
      - {n: 8, ratios: 10, method: in-then-outpaint, real: false}                             # synthetic images alone
      - {task: malignancy, n: 8, ratios: [0, 10], method: in-then-outpaint, transforms: true}

task: condition | malignancy. n: real images per class. ratios: synthetic images per real one; 0 is real only. method,
generator (fine-tuned | base) and scope (condition | all): which synthetic images. mix: [inpaint, gan] shares the ratio
between methods in one arm (of 5 images the first gives 3), where method: [inpaint, gan] would make an arm of each.
weight: of a synthetic image in the loss, where a real one's is 1. filter: `flags` leaves out images whose flag is not
among the notebook's use_flags; `off` uses every image that was made. generator_data: which real images their
generators may have seen, as the leakage audit must find: `any` but the test's; `all`, of training and validation;
`train`; `matched`, no other than the run's own n, by models of its own (by_run of 02). parents: `subset` takes the
children of the run's own real images; `any` as many of the same condition, whoever their parent is (for text-to-image,
which takes nothing of its parent's pixels). real: false leaves the real images out. steps: `epochs` shows every image
once an epoch; `matched` shows as many an epoch as the largest ratio does that is declared for the same task and n.
"""

import difflib
import itertools
import math
from collections.abc import Mapping, Sequence

__all__ = ["SETTINGS", "cells", "shares"]

TASKS = ("condition", "malignancy")
CHOICES = {
    "task": TASKS,
    "method": ("none", "text-to-image", "img2img", "inpaint", "in-then-outpaint", "gan"),
    "generator": ("fine-tuned", "base"),
    "scope": ("condition", "all"),
    "parents": ("subset", "any"),
    "generator_data": ("any", "all", "train", "matched"),
    "steps": ("epochs", "matched"),
    "filter": ("flags", "off"),
    "transforms": (False, True),
    "real": (True, False),
}
DEFAULTS = {
    "task": "condition",
    "n": None,
    "ratios": 0,
    "method": "none",
    "generator": "fine-tuned",
    "scope": "condition",
    "parents": "subset",
    "generator_data": "any",
    "weight": 1.0,
    "filter": "flags",
    "transforms": False,
    "real": True,
    "steps": "epochs",
}
# What tells one arm from another, as columns of the predictions and cells.
SETTINGS = (
    "task",
    "n",
    "ratio",
    "method",
    "generator",
    "scope",
    "parents",
    "generator_data",
    "weight",
    "filter",
    "transforms",
    "steps",
    "sources",
)
JOINED = "+"  # between the methods of a mix, in names and in the column `method`


def cells(arms: Sequence[Mapping], runs: int, steps: str = "epochs") -> list[dict]:
    """All cells of the declared arms, arm by arm, each arm once: its settings, `arm` (its name), `run` and
    `shown_ratio`.

    runs: replicates 0 … runs - 1 of every arm. steps: of arms that do not say. In an arm without real images `n` is 0
    and `sources` says whose children it sees; elsewhere both are the same. Raises ValueError naming the arm and the
    key.
    """
    if runs < 1:
        raise ValueError(f"runs is {runs}: expected at least 1")
    declared = [_whole(arm, steps) for arm in arms]
    if not declared:
        raise ValueError("arms is empty: declare at least one, e.g. {n: [8], ratios: [0]}")
    every = [dict(zip(arm, values, strict=True)) for arm in declared for values in itertools.product(*arm.values())]
    top: dict[tuple, int] = {}
    for one in every:
        top[one["task"], one["n"]] = max(top.get((one["task"], one["n"]), 0), one["ratios"])
    found: dict[str, dict] = {}
    for one in every:
        cell = _cell(one, top[one["task"], one["n"]])
        found.setdefault(cell["arm"], cell)
    return [{**arm, "run": run} for arm in found.values() for run in range(runs)]


def shares(method: str, ratio: int) -> list[tuple[str, int]]:
    """(method, its synthetic images per real one), as even as can be; the first named give the odd ones."""
    methods = method.split(JOINED)
    return [(name, ratio // len(methods) + (place < ratio % len(methods))) for place, name in enumerate(methods)]


def _whole(arm: Mapping, steps: str) -> dict[str, list]:
    """A declared arm with all keys, each a list of values, checked."""
    for key in arm:
        if key not in DEFAULTS and key != "mix":
            near = difflib.get_close_matches(str(key), [*DEFAULTS, "mix"], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(DEFAULTS)}, mix"
            raise ValueError(f"arm {dict(arm)}: unknown key {key!r}; {hint}")
    given = DEFAULTS | {"steps": steps} | {key: value for key, value in arm.items() if key != "mix"}
    whole = {key: value if isinstance(value, list) else [value] for key, value in given.items()}
    for key, values in whole.items():
        for value in values:
            _check(arm, key, value)
    if "mix" in arm:
        whole["method"] = _mixes(arm)
    if any(whole["ratios"]) and "none" in whole["method"]:
        raise ValueError(f"arm {dict(arm)}: ratios above 0 need a method: {', '.join(CHOICES['method'][1:])}")
    few = [ratio for ratio in whole["ratios"] if 0 < ratio < max(len(m.split(JOINED)) for m in whole["method"])]
    if few:
        raise ValueError(f"arm {dict(arm)}: a ratio of {few[0]} cannot be shared between so many methods")
    if 0 in whole["ratios"] and False in whole["real"]:
        raise ValueError(f"arm {dict(arm)}: neither real nor synthetic images are left to train on")
    return whole


def _check(arm: Mapping, key: str, value: object) -> None:
    """Raises ValueError where a key cannot have this value."""
    low = {"n": 1, "ratios": 0}.get(key)
    if low is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
        raise ValueError(f"arm {dict(arm)}: {key} is {value!r}, expected a whole number of at least {low}")
    if key == "weight" and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf):
        raise ValueError(f"arm {dict(arm)}: weight is {value!r}, expected a number above 0 (a real image's is 1)")
    if key in CHOICES and value not in CHOICES[key]:
        raise ValueError(f"arm {dict(arm)}: {key} is {value!r}, expected one of {CHOICES[key]}")


def _mixes(arm: Mapping) -> list[str]:
    """The mixes of an arm as joined names: `[a, b]` is one mix, `[[a, b], [a, c]]` are two."""
    known = CHOICES["method"][1:]
    mixes = arm["mix"] if isinstance(arm["mix"], list) else [arm["mix"]]
    mixes = mixes if all(isinstance(one, list) for one in mixes) else [mixes]
    for one in mixes:
        if "method" in arm or len(one) < 2 or len(set(one)) != len(one) or not set(one) <= set(known):
            raise ValueError(
                f"arm {dict(arm)}: mix is {arm['mix']!r}, expected two or more different methods of "
                f"{', '.join(known)}, "
                "and no `method` beside it"
            )
    return [JOINED.join(one) for one in mixes]


def _cell(given: dict, top: int) -> dict:
    """One arm's settings and name; what has no meaning for it (the generator of no images) is 'none'."""
    cell = {"ratio" if key == "ratios" else key: value for key, value in given.items() if key != "real"}
    cell["weight"] = float(cell["weight"]) if cell["ratio"] else 1.0
    if not cell["ratio"]:
        cell |= dict.fromkeys(("method", "generator", "scope", "parents", "generator_data", "filter"), "none")
    cell |= {"sources": cell["n"], "n": cell["n"] if given["real"] else 0}
    cell["shown_ratio"] = top if cell["steps"] == "matched" else cell["ratio"]
    parts = [cell["task"], f"n{cell['n']}" if given["real"] else f"synthetic alone of n{cell['sources']}"]
    if cell["ratio"]:
        parts += [f"x{cell['ratio']}", cell["method"], cell["generator"]]
        parts += ["one generator for all"] * (cell["scope"] == "all") + ["any parents"] * (cell["parents"] == "any")
        parts += [f"generator data {cell['generator_data']}"] * (cell["generator_data"] != "any")
        parts += [f"weight {cell['weight']:g}"] * (cell["weight"] != 1) + ["unfiltered"] * (cell["filter"] == "off")
    parts += ["transforms"] * cell["transforms"] + [f"steps of x{top}"] * (cell["steps"] == "matched")
    return cell | {"arm": "/".join(parts)}
