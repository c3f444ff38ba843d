"""From the predictions table to tested hypotheses: gains, sums of gains, and families as `hypotheses` declares them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from . import bounds, estimands
from . import families as _families
from .hypotheses import Hypotheses, Hypothesis
from .mrmc import NOT_ESTIMABLE, Gain, gain_from_groups
from .predictions import Block, check_predictions, select

__all__ = ["answers", "by_dose", "check_predictions", "gain", "select", "test_families", "with_corrections"]


def gain(
    predictions: pd.DataFrame | Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    average: str = "macro",
    where: Mapping | None = None,
    level: float = 0.95,
    against: Mapping | None = None,
) -> Gain:
    """Gain in accuracy [proportion] of one arm over another, runs and clusters random.

    predictions: the table, or its `predictions.blocks` (checked once, for many gains).
    treatment, control: settings that name one arm each, of the same task. where: images, e.g. {"fst_group": "V-VI"}.
    average: "macro" (classes of y_true count the same) | "micro" (clusters do). against: minus the gain on such images.
    Raises NotRun (a KeyError) where an arm was not run, ValueError where settings name several arms or no image.
    """
    one = Hypothesis(id="gain", estimand="treatment - control", average=average)
    one, arms = (
        one.but(where=dict(where or {}), against=dict(against or {})),
        {"treatment": treatment, "control": control},
    )
    return _estimate(estimands.as_blocks(predictions), one, arms, level)[0]


def test_families(
    predictions: pd.DataFrame | Mapping[str, Block], declared: Hypotheses, level: float = 0.95
) -> pd.DataFrame:
    """Every declared hypothesis as one row: estimate and interval in points, raw and adjusted p, what it rests on.

    Columns: family, id, kind, task, n (real images per class of its arms, '' where its settings name none), average,
    alternative (two-sided | less | within), estimate, low, high, se, df, statistic, p, p_adjusted, p_by, correction,
    low_simultaneous, high_simultaneous, low_adjusted, high_adjusted, bound, upper_adjusted, upper_bound, margin,
    images, clusters, runs, verdict, flags. low to high is two-sided and for this hypothesis alone; statistic and p of
    a one-sided test (less, within) are against the margin, and upper_bound is its own bound. The adjusted bounds are
    those of `bounds.family_bounds`, named in `bound`. A hypothesis without a p has the verdict "not run" or "not
    estimable", and its reason in `flags`; nothing is dropped. ValueError where settings name several arms.
    """
    prepared, tables = estimands.as_blocks(predictions), []
    for name, family in declared.families.items():
        members = [m for one in declared.of_family(name) for m in estimands.spread(prepared, one, declared.arms)]
        table = pd.DataFrame([_row(prepared, one, declared.arms, family.min_images, level) for one in members])
        tables.append(with_corrections(table, family.correction, level, family.simultaneous))
    order = "family id kind task n average alternative estimate low high se df statistic p p_adjusted p_by correction"
    order += " low_simultaneous high_simultaneous low_adjusted high_adjusted bound upper_adjusted upper_bound margin"
    return pd.concat(tables, ignore_index=True)[[*order.split(), "images", "clusters", "runs", "verdict", "flags"]]


def with_corrections(
    rows: pd.DataFrame, correction: str, level: float = 0.95, simultaneous: bool = False
) -> pd.DataFrame:
    """One family's rows with adjusted p, the bounds beside them, and verdicts.

    rows: kind, alternative, estimate, se, df, p, margin, and verdict ('' where there is none yet).

    >>> row = {"kind": "gain", "alternative": "two-sided", "estimate": 3.0, "se": 1.0, "df": np.inf, "p": 0.0027}
    >>> with_corrections(pd.DataFrame([row | {"margin": np.nan, "verdict": ""}]), "holm")["verdict"].tolist()
    ['gain']
    """
    table = _families.run_family(
        rows, correction, low_df=("estimate", "se", "df") if simultaneous else None, level=level
    )
    table = table.join(bounds.family_bounds(table, correction, level))
    table["verdict"] = [_verdict(row, 1 - level) for _, row in table.iterrows()]
    return table


def answers(
    predictions: pd.DataFrame | Mapping[str, Block], arm: Mapping, where: Mapping | None = None
) -> tuple[np.ndarray, pd.DataFrame]:
    """What one arm got right: (correct (runs, images), the images' table). NotRun where the arm was not run."""
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

    series: settings of the arms, whose ratio is left open; control: the arm of ratio 0. A cell is one cluster within a
    class (macro) or one cluster (micro). Raises NotRun where the control or all arms above 0 were not run.
    """
    block = estimands.block_of(estimands.as_blocks(predictions), control)
    if "ratio" not in block.arms:
        raise estimands.NotRun("these arms have no column `ratio`, so that there is no dose")
    series = {name: value for name, value in series.items() if name != "ratio"}
    arms = {0.0: estimands.arm_of(block, control)}
    for ratio in sorted(float(r) for r in select(block.arms, **series)["ratio"].unique() if float(r) > 0):
        arms[ratio] = estimands.arm_of(block, {**series, "ratio": ratio})
    if len(arms) == 1:
        raise estimands.NotRun(f"no arm with a ratio above 0 and {series} was run")
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


def _estimate(
    prepared: Mapping[str, Block], one: Hypothesis, arms: estimands.Arms, level: float
) -> tuple[Gain, int, list[str]]:
    """(Gain, distinct images, remarks) of a hypothesis."""
    parts = estimands.parts(prepared, one, arms)
    result = gain_from_groups(parts.values, parts.clusters, parts.weights, level, parts.counted)
    return result, parts.images, parts.remarks


def _facts(prepared: Mapping[str, Block], one: Hypothesis, arms: estimands.Arms) -> dict[str, object]:
    """What a hypothesis is about, run or not."""
    named = [arms[name] for _, name in one.terms]
    sizes = sorted({int(arm["n"]) for arm in named if str(arm.get("n", "")).isdigit()})
    row: dict[str, object] = {"family": one.family, "id": one.id, "kind": one.kind}
    row |= {"task": str(named[0].get("task", next(iter(prepared)))), "n": ", ".join(map(str, sizes))}
    return row | {"average": one.average, "alternative": bounds.ALTERNATIVES[one.test]}


def _fewest_images(prepared: Mapping[str, Block], one: Hypothesis, arms: estimands.Arms) -> int:
    """Images of a hypothesis; of a difference between groups of images, those of the smaller side."""
    places = [one.where, {**one.where, **one.against}]
    blocks = [estimands.block_of(prepared, arms[first]) for first, _ in one.pairs]
    return min(len(select(block.images, **place)) for block in blocks for place in places)


ONE_SIDED = {"non-superiority": _families.non_superiority, "equivalence": _families.tost}


def _row(
    prepared: Mapping[str, Block], one: Hypothesis, arms: estimands.Arms, min_images: int, level: float
) -> dict[str, object]:
    margin = one.margin if one.test != "superiority" else np.nan
    if margin is None:
        raise ValueError(f"hypothesis {one.id!r}: {one.test} needs a margin")
    row = _facts(prepared, one, arms)
    row |= {"margin": 100 * float(margin), "upper_bound": np.nan, "verdict": "", "flags": ""}
    row |= dict.fromkeys(("estimate", "low", "high", "se", "df", "statistic", "p"), np.nan)
    row |= dict.fromkeys(("images", "clusters", "runs"), 0)
    try:
        result, images, remarks = _estimate(prepared, one, arms, level)
    except estimands.NotRun as missing:
        return row | {"verdict": "not run", "flags": str(missing)}
    except estimands.NoData as empty:
        return row | {"verdict": NOT_ESTIMABLE, "flags": f"{NOT_ESTIMABLE}: {empty}"}
    flags = [*result.flags, *remarks]
    if (fewest := _fewest_images(prepared, one, arms)) < min_images:
        flags.insert(0, f"{NOT_ESTIMABLE}: {fewest} images, fewer than the {min_images} asked for")
        result = result._replace(se=np.nan, df=np.nan, statistic=np.nan, p=np.nan, low=np.nan, high=np.nan)
    row |= {key: 100 * getattr(result, key) for key in ("estimate", "se", "low", "high")}
    row |= {"df": result.df, "statistic": result.statistic, "p": result.p, "images": images}
    row |= {"clusters": result.clusters, "runs": result.runs, "flags": "; ".join(flags)}
    if one.test != "superiority":
        outcome = ONE_SIDED[one.test](result, margin, 1 - level)
        row |= {"p": outcome.p, "statistic": outcome.statistic, "upper_bound": 100 * outcome.high}
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
