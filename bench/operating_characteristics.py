"""Type I error, coverage and power of the primary test: simulated studies with known truth, tested by `stats.mrmc`.

Studies come from `normal_model`, which the test is made for, and from `beta_model`, which it does not assume; `designs`
lists them. The table is resumable: each row is kept as soon as it is made, under the digest of its design and code.
"""

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from skinsyn.run import files
from skinsyn.stats import clusters, mean_squares, mrmc, power

from . import beta_model, normal_model
from .beta_model import Trial
from .normal_model import Study

SIZE, COVERAGE, FAMILYWISE, NOTHING = (0.03, 0.07), (0.93, 0.97), (0.0, 0.06), (np.nan, np.nan)
GOALS = {  # from to, of the share of data sets rejected; of coverage; distance of the power from its prediction
    "size": SIZE,
    "coverage and power": COVERAGE,
    "no variance between images": (0.0, 0.07),
    "ceiling accuracy": (0.0, 0.07),
    "coverage towards the ceiling": NOTHING,
    "unequal clusters": SIZE,
    "familywise, F1 malignancy by group": FAMILYWISE,
    "familywise, F2 conditions by group": FAMILYWISE,
    "familywise, F3 differences between groups": FAMILYWISE,
    "familywise, F4 cells, Benjamini-Hochberg": FAMILYWISE,
    "familywise, F4 cells, runs twice as unlike": NOTHING,
    "shared generators, gain given them": SIZE,
    "shared generators, gain over new ones": NOTHING,
    "shared training images, gain given them": SIZE,
    "shared training images, gain over new ones": NOTHING,
    "shared generators, F3 given them": FAMILYWISE,
    "shared generators, F3 over new ones": NOTHING,
}
POWER = 0.05
CODE = (clusters, mean_squares, mrmc, power, beta_model, normal_model)


def row(design: Study | Trial, sets: int, seed: int, level: float = 0.95) -> dict[str, object]:
    """One line of the benchmark: what a design's tests did, beside what they should do.

    rejected: share of data sets with a hypothesis rejected after the correction: against the truth where no gain was
    planted and in families (Type I and familywise error), against 0 elsewhere (power). covered: share of intervals, of
    those that exist, that hold the truth. predicted: `power.power` from the components of the first hypothesis.
    promised: the design has the runs and clusters that carry no flag, and its kind has a goal. met: rejected (or
    covered, with the power within POWER of its prediction) lies within the goal.
    """
    gains, truths, pooled = run(design, sets, seed, level)
    erring = design.gain == 0 or design.kind.startswith("familywise")
    against = truths if erring else [np.zeros(1)] * len(gains)
    p = np.column_stack([_p(gain, truth) for gain, truth in zip(gains, against, strict=True)])
    tested = np.isfinite(p)
    inside = [(gain.low <= truth) & (truth <= gain.high) for gain, truth in zip(gains, truths, strict=True)]
    made = {**design.described, "hypotheses": p.shape[1], "sets": sets, "estimable": float(tested.mean())}
    rejected = float(any_rejected(p, design.correction, 1 - level).mean())
    covered = float(np.column_stack(inside)[tested].mean())
    predicted = float(power.power(pooled, float(np.mean(truths[0])), level=level)) if pooled else np.nan
    low, high = GOALS[design.kind]
    met = low <= (covered if design.kind.startswith("coverage") else rejected) <= high
    met = met and not abs(rejected - predicted) > POWER
    enough = design.runs >= mrmc.ENOUGH_RUNS and made["fewest"] >= mrmc.ENOUGH_CLUSTERS
    made |= {"rejected": rejected, "covered": covered, "predicted": predicted, "goal_low": low, "goal_high": high}
    return made | {"promised": bool(enough and not np.isnan(low)), "met": bool(met)}


def run(
    design: Study | Trial, sets: int, seed: int, level: float = 0.95
) -> tuple[list[mrmc.Gains], list[np.ndarray], power.Components | None]:
    """(`Gains` of all data sets and their truths, for each hypothesis; where there is a gain and one hypothesis, pooled
    variance components)."""
    rng, gains, truths, pooled = np.random.default_rng(seed), [], [], []
    for tests, true in design.simulate(rng, sets):
        gains.append([mrmc.paired_gains(tables, weights, level) for tables, weights in tests])
        truths.append([np.broadcast_to(value, gains[-1][0].estimate.shape) for value in true])
        if design.gain and len(tests) == 1:
            pooled.append(power.components(*tests[0]))
    joined = [
        mrmc.Gains(*(np.concatenate(part) for part in zip(*one, strict=True))) for one in zip(*gains, strict=True)
    ]
    return joined, [np.concatenate(one) for one in zip(*truths, strict=True)], power.pooled(pooled) if pooled else None


def any_rejected(p: np.ndarray, correction: str, alpha: float) -> np.ndarray:
    """Whether `families.adjust` leaves any adjusted p of a family at or below alpha: (sets, hypotheses), NaN untested.

    >>> any_rejected(np.array([[0.03, 0.04], [0.03, np.nan]]), "holm", 0.05).tolist()
    [False, True]
    """
    many, ordered = np.isfinite(p).sum(1, keepdims=True), np.sort(p, axis=1)  # NaN last
    if correction == "fdr_bh":
        return (ordered * many <= alpha * np.arange(1, p.shape[1] + 1)).any(1)
    if correction != "holm":
        raise ValueError(f"unknown correction {correction!r}; known: holm, fdr_bh")
    return ordered[:, 0] * many[:, 0] <= alpha  # Holm rejects the least p first


def characteristics(
    designs: Sequence[Study | Trial], sets: int, file: Path, seed: int = 0, say: Callable[[str], None] = print
) -> pd.DataFrame:
    """All rows, in the order of the designs; those that `file` holds for the same design, sets, seed and code are kept.

    The file is written anew after each row, atomically; a row's own seed follows from its design.
    """
    known = pd.read_csv(file).set_index("key") if file.exists() else pd.DataFrame()
    rows: dict[str, dict[str, object]] = {}
    for number, design in enumerate(designs, 1):
        key = key_of(design, sets, seed)
        if key in known.index:
            rows[key] = known.loc[key].to_dict()
            continue
        rows[key] = row(design, sets, seed_of(design, seed))
        file.parent.mkdir(parents=True, exist_ok=True)
        others = [{"key": key, **known.loc[key]} for key in known.index if key not in rows]
        with files.atomic(file) as temporary:
            pd.DataFrame([{"key": name, **one} for name, one in rows.items()] + others).to_csv(temporary, index=False)
        say(f"{number} of {len(designs)}: {design.kind}, {design.described}")
    return pd.DataFrame(list(rows.values()))


def seed_of(design: Study | Trial, seed: int = 0) -> int:
    """The seed of a design's row: its digest and the study's seed, whatever other designs there are."""
    return int.from_bytes(hashlib.sha256(f"{seed} {design!r}".encode()).digest()[:4], "big")


def key_of(design: Study | Trial, sets: int, seed: int) -> str:
    """Names a row: digest of design, data sets, seed and of the code behind it."""
    parts = [repr(design), repr(sets), repr(seed), *_bare((*CODE, sys.modules[__name__]))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def _bare(modules: tuple[ModuleType, ...]) -> list[str]:
    """Code of the modules without comments and docstrings: words may change, rows stay."""
    found = []
    for module in modules:
        tree = ast.parse(inspect.getsource(module))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            first = body[0] if isinstance(body, list) and body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value.value = ""
        found.append(ast.dump(tree))
    return found


def _p(gain: mrmc.Gains, truth: np.ndarray) -> np.ndarray:
    """Two-sided p of the test of `truth`."""
    return mrmc.student(gain.estimate - truth, gain.se**2, gain.df, 1).p
