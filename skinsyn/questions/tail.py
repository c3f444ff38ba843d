"""The long tail: is the gain larger where a condition, or a condition in one skin-type group, has few images of its
own?"""

from collections.abc import Mapping

import pandas as pd

from skinsyn.fidelity import usefulness
from skinsyn.report.numbers import number, show, show_p
from skinsyn.stats import contrasts
from skinsyn.stats.predictions import Block

__all__ = ["answer", "gains", "relation"]

OVER = {"condition": "condition", "cell": "condition × skin type"}


def gains(
    prepared: Mapping[str, Block],
    images: pd.DataFrame,
    treatment: Mapping,
    control: Mapping,
    min_images: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """Gain of treatment over control in each condition, and in each condition × skin-type group, beside its own images.

    images: the table of 01; own: its training images of the condition (and group), which is what the generators saw.
    Columns: over ('condition' | 'cell'), condition, fst_group ('all' for a condition), own, and those of
    `contrasts.test_families`, Benjamini-Hochberg over conditions and cells apart. Cells with fewer than min_images test
    images, or of unknown skin type, are not tested.
    """
    train = images[images["split"] == "train"]
    tested = images[images["split"] == "test"]
    parts = {"condition": [(name,) for name in sorted(tested["condition"].unique())]}
    known = tested[tested["fst_group"] != "unknown"]
    parts["cell"] = sorted(set(zip(known["condition"], known["fst_group"], strict=True)))
    every = []
    for over, names in parts.items():
        columns = ["condition", "fst_group"][: 1 if over == "condition" else 2]
        wheres = [dict(zip(columns, name, strict=True)) for name in names]
        if not wheres:
            continue
        hypotheses = [{"id": ", ".join(where.values()), "where": where} for where in wheres]
        family = {"treatment": dict(treatment), "control": dict(control), "average": "micro", "correction": "fdr_bh"}
        family |= {"min_images": min_images, "hypotheses": hypotheses}
        found = contrasts.test_families(prepared, {over: family}, level=level).rename(columns={"family": "over"})
        own = [int((train[list(where)] == pd.Series(where)).all(axis=1).sum()) for where in wheres]
        about = pd.DataFrame(wheres, columns=["condition", "fst_group"]).assign(
            own=own, id=[h["id"] for h in hypotheses]
        )
        every.append(found.merge(about, on="id", how="left"))
    table = pd.concat(every, ignore_index=True)
    table["fst_group"] = table["fst_group"].astype("object").where(table["fst_group"].notna(), "all").astype("str")
    first = ["over", "condition", "fst_group", "own"]
    return table[[*first, *(name for name in table if name not in first)]]


def relation(found: pd.DataFrame, draws: int = 2000, seed: int = 0, level: float = 0.95) -> pd.DataFrame:
    """Spearman's correlation of `own` with the gain, over conditions and over cells: over, then as
    usefulness.correlations.

    Below zero says that the rare ones gain more. p by permutation, conditions or cells as the units; cells of one
    condition share their generator, so that theirs is too small where conditions differ.
    """
    rows = []
    for over in OVER:
        part = found[(found["over"] == over) & found["estimate"].notna()]
        points = pd.DataFrame({"condition": part["id"], "gain": part["estimate"], "own": part["own"].astype(float)})
        points = points.assign(**dict.fromkeys(usefulness.MODEL, "the primary arm"))
        rows.append(usefulness.correlations(points, ["own"], draws, seed, level).assign(over=over))
    made = pd.concat(rows, ignore_index=True)
    return made[["over", "rho", "low", "high", "p", "conditions", "flags"]].rename(columns={"conditions": "units"})


def answer(found: pd.DataFrame, related: pd.DataFrame) -> str:
    """The answer in plain words: by condition, then by condition × skin type."""
    if (found["verdict"] == "not run").all():
        return "Not run: the grid of this run lacks the primary arm or its control."
    told = []
    for row in related.to_dict("records"):
        over = OVER[row["over"]]
        if pd.isna(row["rho"]):
            told.append(f"By {over}, whether the rare ones gain more cannot be told ({row['flags']})")
            continue
        rho, low, high = (show(number(float(row[key])), 2, sign=True) for key in ("rho", "low", "high"))
        said = (
            f"Over {row['units']} units of {over} the gain goes with the number of own training images by a correlation"
        )
        told.append(f"{said} of {rho} ({low} to {high}; p {show_p(row['p'])}; below zero, the rare ones gain more)")
    text = ". ".join(told) + "."
    cells = found[found["over"] == "cell"]
    if cells.empty:
        return text
    return (
        text + f" {int(cells['p'].isna().sum())} of {len(cells)} cells of condition × skin type were too small to test."
    )
