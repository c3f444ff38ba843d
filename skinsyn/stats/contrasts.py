"""From the predictions table to tested hypotheses: gains, differences of gains, and the families declared in params.

`declared` says how a family is written in the params file.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from . import declared, estimands
from . import families as _families
from .mrmc import NOT_ESTIMABLE, Gain, gain_from_groups
from .predictions import Block, check_predictions, select

__all__ = [
    "answers",
    "by_dose",
    "check_predictions",
    "difference_of_gains",
    "gain",
    "select",
    "test_families",
]


def gain(
    predictions: pd.DataFrame | Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    average: str = "macro",
    where: Mapping | None = None,
    level: float = 0.95,
    count: str = "clusters",
) -> Gain:
    """Gain in accuracy [proportion] of one arm over another, runs and clusters random.

    predictions: the table, or its `predictions.blocks` (checked once, for many gains).
    treatment, control: settings that name one arm each, of the same task. where: images, e.g. {"fst_group": "V-VI"}.
    average: "macro" (classes of y_true count the same) | "micro" (one group). count: see `mrmc.gain_from_images`.
    Raises KeyError where an arm was not run, ValueError where a filter names several arms or no image.
    """
    hypothesis = {"treatment": treatment, "control": control, "where": where or {}, "average": average, "count": count}
    return _estimate(estimands.as_blocks(predictions), [(1.0, hypothesis)], level)[0]


def difference_of_gains(
    predictions: pd.DataFrame | Mapping[str, Block],
    first: Mapping,
    second: Mapping,
    average: str = "macro",
    level: float = 0.95,
    count: str = "clusters",
) -> Gain:
    """Gain of `first` minus gain of `second`, each {"treatment":, "control":, "where":}; runs stay paired throughout.

    A macro average is taken over the classes that both sides hold, so that like is compared with like.
    """
    sides = [{"where": {}, "average": average, "count": count, **side} for side in (first, second)]
    return _estimate(estimands.as_blocks(predictions), [(1.0, sides[0]), (-1.0, sides[1])], level)[0]


def test_families(
    predictions: pd.DataFrame | Mapping[str, Block],
    families: Mapping,
    arms: Mapping | None = None,
    margin: float | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Every declared hypothesis as one row: estimate and interval in points, raw and adjusted p, what it rests on.

    families, arms: as `declared` says. margin: of non-superiority and equivalence where a hypothesis names none.
    Columns: family, id, kind, average, estimate, low, high, se, df, statistic, p, p_adjusted, p_by, correction,
    low_simultaneous, high_simultaneous, upper_bound, margin, images, clusters, runs, verdict, flags. The p of
    non-superiority is one-sided, upper_bound its one-sided bound. A hypothesis without a p has the verdict "not run" or
    "not estimable", and its reason in `flags`; nothing is dropped. ValueError where the declaration is wrong.
    """
    prepared, tables = estimands.as_blocks(predictions), []
    for name, family in families.items():
        members = declared.hypotheses(name, family, prepared, arms, margin)
        table = pd.DataFrame([_row(prepared, name, hypothesis, level) for hypothesis in members])
        bounds = ("estimate", "se", "df") if family.get("simultaneous") else None
        table = _families.run_family(table, family["correction"], low_df=bounds, level=level)
        table["verdict"] = [_verdict(row, 1 - level) for _, row in table.iterrows()]
        tables.append(table)
    order = "family id kind average estimate low high se df statistic p p_adjusted p_by correction low_simultaneous"
    order += " high_simultaneous upper_bound margin images clusters runs verdict flags"
    return pd.concat(tables, ignore_index=True)[order.split()]


test_families.__test__ = False  # the name is not a pytest test


def answers(
    predictions: pd.DataFrame | Mapping[str, Block], arm: Mapping, where: Mapping | None = None
) -> tuple[np.ndarray, pd.DataFrame]:
    """What one arm got right: (correct (runs, images), the images' table). KeyError where the arm was not run."""
    block = estimands.block_of(estimands.as_blocks(predictions), arm)
    images = select(block.images, **(where or {}))
    return block.correct[estimands.arm_of(block, arm)][:, images.index], images.reset_index(drop=True)


def by_dose(
    predictions: pd.DataFrame | Mapping[str, Block],
    series: Mapping,
    control: Mapping,
    average: str = "macro",
    where: Mapping | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Accuracy of one series of arms at each ratio: (doses, correct (runs, cells, doses), stratum of each cell).

    series: settings of the arms but for their ratio; control: the arm of ratio 0. A cell is one cluster within a class
    (macro) or one cluster (micro). Raises KeyError where the control or all arms above 0 were not run.
    """
    block = estimands.block_of(estimands.as_blocks(predictions), control)
    arms = {0.0: estimands.arm_of(block, control)}
    for ratio in sorted(float(r) for r in select(block.arms, **series)["ratio"].unique() if float(r) > 0):
        arms[ratio] = estimands.arm_of(block, {**series, "ratio": ratio})
    if len(arms) == 1:
        raise KeyError(f"no arm with a ratio above 0 and {dict(series)} was run")
    images = select(block.images, **(where or {}))
    if images.empty:
        raise ValueError(f"no test image with {where}")
    strata = images["y_true"].astype(str) if average == "macro" else pd.Series("all", index=images.index)
    cells = pd.MultiIndex.from_arrays([strata, images["cluster_id"].astype(str)])
    codes, names = pd.factorize(cells, sort=True)
    sums = np.zeros((len(names), len(block.runs), len(arms)))
    np.add.at(sums, codes, block.correct[list(arms.values())][:, :, images.index].transpose(2, 1, 0))
    means = sums / np.bincount(codes)[:, None, None]
    return np.array(list(arms)), means.transpose(1, 0, 2), np.asarray(names.get_level_values(0))


def _estimate(prepared, terms: list[tuple[float, Mapping]], level: float) -> tuple[Gain, int, list[str]]:
    """(Gain, distinct images, remarks) of a signed sum of gains."""
    parts = estimands.parts(prepared, terms)
    gain = gain_from_groups(parts.values, parts.clusters, parts.weights, level, parts.count)
    return gain, parts.images, parts.remarks


def _row(prepared: Mapping[str, Block], family: str, hypothesis: dict, level: float) -> dict:
    row = {"family": family, **{k: hypothesis.get(k) for k in ("id", "kind", "average")}}
    margin = hypothesis["margin"] if hypothesis["kind"] in ("non-superiority", "equivalence") else np.nan
    row |= {"margin": 100 * float(margin), "upper_bound": np.nan, "verdict": "", "flags": ""}
    row |= dict.fromkeys(("estimate", "low", "high", "se", "df", "statistic", "p"), np.nan)
    row |= dict.fromkeys(("images", "clusters", "runs"), 0)
    try:
        result, images, remarks = _estimate(prepared, estimands.terms(hypothesis), level)
    except KeyError as missing:
        return row | {"verdict": "not run", "flags": missing.args[0]}
    except estimands.NoData as empty:
        return row | {"verdict": NOT_ESTIMABLE, "flags": f"{NOT_ESTIMABLE}: {empty}"}
    flags = [*result.flags, *remarks]
    if images < hypothesis["min_images"]:
        flags.insert(0, f"{NOT_ESTIMABLE}: {images} images, fewer than the {hypothesis['min_images']} asked for")
        result = result._replace(**dict.fromkeys(("se", "df", "statistic", "p", "low", "high"), np.nan))
    for key in ("estimate", "se", "low", "high"):
        row[key] = 100 * getattr(result, key)
    row |= {"df": result.df, "statistic": result.statistic, "p": result.p, "images": images}
    row |= {"clusters": result.clusters, "runs": result.runs, "flags": "; ".join(flags)}
    if hypothesis["kind"] in ("non-superiority", "equivalence"):
        test = _families.non_superiority if hypothesis["kind"] == "non-superiority" else _families.tost
        outcome = test(result, hypothesis["margin"], 1 - level)
        row |= {"p": outcome.p, "upper_bound": 100 * outcome.high}
    return row


def _verdict(row: pd.Series, alpha: float) -> str:
    """What the adjusted p says, in words."""
    if row["verdict"]:
        return row["verdict"]
    if not np.isfinite(row["p"]):
        return NOT_ESTIMABLE
    rejected = row["p_adjusted"] <= alpha
    if row["kind"] == "non-superiority":
        return "no gain above the margin" if rejected else "not shown"
    if row["kind"] == "equivalence":
        return "equivalent" if rejected else "not shown"
    if not rejected:
        return "no difference shown"
    up, down = ("gain", "loss") if row["kind"] == "gain" else ("larger", "smaller")
    return up if row["estimate"] > 0 else down
