"""Arms of the grid: a short declaration becomes a list of cells, one classifier each.

Arms are declared in YAML, a few lines for many cells; a list means each of its values:

    arms:
      - {n: [2, 4, 8, 16], transforms: [false, true]}                                        # real images only
      - {n: [2, 4, 8, 16], ratios: [10], method: in-then-outpaint, transforms: [false, true]}  # and synthetic ones
      - {n: 8, ratios: 10, method: in-then-outpaint, real: false}                             # synthetic images alone
      - {task: malignancy, n: 8, ratios: [0, 10], method: in-then-outpaint, transforms: true}

task: condition | malignancy. n: real images per class. ratios: synthetic images per real one; 0 is real only. method,
generator (fine-tuned | base) and scope (condition | all): which synthetic images. generator_data: which real images their
generators may have seen, as the leakage audit must find: `any` but the test's; `all`, of training and validation; `train`;
`matched`, no other than the run's own n, by models of its own (by_run of 02). parents: `subset` takes the children
of the run's own real images; `any` as many of the same condition, whoever their parent is (for text-to-image, which takes
nothing of its parent's pixels). real: false leaves the real images out. steps: `epochs` shows every image once an epoch;
`matched` shows as many an epoch as the largest declared ratio does.
"""

import difflib
import itertools
from collections.abc import Mapping, Sequence

__all__ = ["SETTINGS", "cells"]

TASKS = ("condition", "malignancy")
CHOICES = {
    "task": TASKS,
    "method": ("none", "text-to-image", "img2img", "inpaint", "in-then-outpaint", "gan"),
    "generator": ("fine-tuned", "base"),
    "scope": ("condition", "all"),
    "parents": ("subset", "any"),
    "generator_data": ("any", "all", "train", "matched"),
    "steps": ("epochs", "matched"),
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
    "transforms",
    "steps",
    "sources",
)


def cells(arms: Sequence[Mapping], runs: int, steps: str = "epochs") -> list[dict]:
    """All cells of the declared arms, arm by arm, each arm once: its settings, `arm` (its name), `run` and `shown_ratio`.

    runs: replicates 0 … runs - 1 of every arm. steps: of arms that do not say. In an arm without real images `n` is 0 and
    `sources` says whose children it sees; elsewhere both are the same. Raises ValueError naming the arm and the key.
    """
    if runs < 1:
        raise ValueError(f"runs is {runs}: expected at least 1")
    declared = [_whole(arm, steps) for arm in arms]
    if not declared:
        raise ValueError("arms is empty: declare at least one, e.g. {n: [8], ratios: [0]}")
    top = max(ratio for arm in declared for ratio in arm["ratios"])
    found: dict[str, dict] = {}
    for arm in declared:
        for values in itertools.product(*arm.values()):
            one = _cell(dict(zip(arm, values, strict=True)), top)
            found.setdefault(one["arm"], one)
    return [{**arm, "run": run} for arm in found.values() for run in range(runs)]


def _whole(arm: Mapping, steps: str) -> dict[str, list]:
    """A declared arm with all keys, each a list of values, checked."""
    for key in arm:
        if key not in DEFAULTS:
            near = difflib.get_close_matches(str(key), DEFAULTS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(DEFAULTS)}"
            raise ValueError(f"arm {dict(arm)}: unknown key {key!r}; {hint}")
    whole = {
        key: value if isinstance(value, list) else [value] for key, value in (DEFAULTS | {"steps": steps} | arm).items()
    }
    for key, values in whole.items():
        low = {"n": 1, "ratios": 0}.get(key)
        for value in values:
            if low is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
                raise ValueError(f"arm {dict(arm)}: {key} is {value!r}, expected a whole number of at least {low}")
            if low is None and value not in CHOICES[key]:
                raise ValueError(f"arm {dict(arm)}: {key} is {value!r}, expected one of {CHOICES[key]}")
    if any(whole["ratios"]) and "none" in whole["method"]:
        raise ValueError(f"arm {dict(arm)}: ratios above 0 need a method: {', '.join(CHOICES['method'][1:])}")
    if 0 in whole["ratios"] and False in whole["real"]:
        raise ValueError(f"arm {dict(arm)}: neither real nor synthetic images are left to train on")
    return whole


def _cell(given: dict, top: int) -> dict:
    """One arm's settings and name; what has no meaning for it (the generator of no images) is 'none'."""
    cell = {"ratio" if key == "ratios" else key: value for key, value in given.items() if key != "real"}
    if not cell["ratio"]:
        cell |= dict.fromkeys(("method", "generator", "scope", "parents", "generator_data"), "none")
    cell |= {"sources": cell["n"], "n": cell["n"] if given["real"] else 0}
    cell["shown_ratio"] = top if cell["steps"] == "matched" else cell["ratio"]
    parts = [cell["task"], f"n{cell['n']}" if given["real"] else f"synthetic alone of n{cell['sources']}"]
    if cell["ratio"]:
        parts += [f"x{cell['ratio']}", cell["method"], cell["generator"]]
        parts += ["one generator for all"] * (cell["scope"] == "all") + ["any parents"] * (cell["parents"] == "any")
        parts += [f"generator data {cell['generator_data']}"] * (cell["generator_data"] != "any")
    parts += ["transforms"] * cell["transforms"] + [f"steps of x{top}"] * (cell["steps"] == "matched")
    return cell | {"arm": "/".join(parts)}
