"""The long tail: gain against the number of own training images, over conditions and over condition × skin type."""

from collections.abc import Mapping

import pandas as pd

from skinsyn.stats import contrasts
from skinsyn.stats.hypotheses import Family, Hypotheses, Hypothesis
from skinsyn.stats.predictions import Block, select

from . import MODEL, usefulness

__all__ = ["gains", "relation"]

UNITS = {"condition": ["condition"], "cell": ["condition", "fst_group"]}


def gains(
    prepared: Mapping[str, Block],
    images: pd.DataFrame,
    treatment: Mapping,
    control: Mapping,
    min_images: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """Gain of treatment over control per condition, and per condition × skin-type group, beside its own images.

    images: the table of 01; own: its training images of the condition (and group), which is what the generators saw.
    Columns: over ('condition' | 'cell'), condition, fst_group ('all' for a condition), own, and those of
    `contrasts.test_families`, Benjamini-Hochberg over conditions and cells apart. Cells with fewer than min_images test
    images, or of unknown skin type, are not tested.
    """
    train, test = (images[images["split"] == split] for split in ("train", "test"))
    tables = []
    for over, columns in UNITS.items():
        known = test if over == "condition" else test[test["fst_group"] != "unknown"]
        units = known[columns].drop_duplicates().sort_values(columns).to_dict("records")
        if not units:
            continue
        names = [", ".join(unit.values()) for unit in units]
        gain = "treatment - control"
        declared = Hypotheses(
            arms={"treatment": treatment, "control": control},
            families={over: Family(correction="fdr_bh", min_images=min_images)},
            hypotheses=tuple(
                Hypothesis(id=name, family=over, estimand=gain, average="micro", where=unit)
                for name, unit in zip(names, units, strict=True)
            ),
        )
        tested = contrasts.test_families(prepared, declared, level).rename(columns={"family": "over"})
        about = pd.DataFrame([{"fst_group": "all"} | unit for unit in units])
        about = about.assign(own=[len(select(train, **unit)) for unit in units], id=names)
        tables.append(tested.merge(about, on="id", how="left"))
    table = pd.concat(tables, ignore_index=True)
    first = ["over", "condition", "fst_group", "own"]
    return table[[*first, *(name for name in table if name not in first)]]


def relation(measured: pd.DataFrame, draws: int = 2000, seed: int = 0, level: float = 0.95) -> pd.DataFrame:
    """Spearman's correlation of `own` with the gain, over conditions and over cells: over, then as
    usefulness.correlations.

    A negative one says that the rare ones gain more. p by permutation, conditions or cells as the units; cells of one
    condition share their generator, so that theirs is too small where conditions differ.
    """
    rows = []
    for over in UNITS:
        part = measured[(measured["over"] == over) & measured["estimate"].notna()]
        points = pd.DataFrame({"condition": part["id"], "gain": part["estimate"], "own": part["own"].astype(float)})
        points = points.assign(**dict.fromkeys(MODEL, "the primary arm"))
        rows.append(usefulness.correlations(points, ["own"], draws, seed, level).assign(over=over))
    table = pd.concat(rows, ignore_index=True)
    return table[["over", "rho", "low", "high", "p", "conditions", "flags"]].rename(columns={"conditions": "units"})
