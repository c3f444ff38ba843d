"""Standardisation: accuracy at one mix of conditions, odds ratios within conditions, and a clinic's mix of patients."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats.contingency_tables import StratifiedTable

from . import estimands
from .clusters import NOT_ESTIMABLE
from .intervals import of_means, once, ratio
from .predictions import Block, select

UNDEFINED = {"tpr": "no malignant image", "ppv": "no image was called malignant"}


def by_condition_mix(
    correct: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    condition_ids: npt.ArrayLike,
    cluster_ids: npt.ArrayLike,
    level: float = 0.95,
) -> pd.DataFrame:
    """Direct standardisation, sum over k of w_k p_gk: accuracy by group at the mix of conditions k of all images.

    correct: (runs, images) of 0/1. The mix is that of all images, over the conditions that occur in every group; the
    others are named in flags. Columns: group, crude, standardised, low, high (of standardised; MRMC, logit scale),
    images, clusters, runs, conditions, flags. A cluster counts once within group and condition; one cluster only in a
    condition leaves no interval. ValueError where shapes do not fit.

    >>> table = by_condition_mix([[1, 0, 1, 1]] * 2, ["I", "VI"] * 2, ["x", "x", "y", "y"], range(4))
    >>> table[["group", "standardised"]].values.tolist()
    [['I', 1.0], ['VI', 0.5]]
    """
    answers, frame = np.asarray(correct, float), pd.DataFrame({"group": np.asarray(group_ids).astype(str)})
    frame = frame.assign(condition=np.asarray(condition_ids).astype(str), cluster=np.asarray(cluster_ids).astype(str))
    if answers.ndim != 2 or answers.shape[1] != len(frame):
        raise ValueError(f"correct {answers.shape} and {len(frame)} group ids do not fit together")
    present = frame.groupby("group")["condition"].agg(set)
    common = sorted(set.intersection(*present))
    absent = sorted(set(frame["condition"]) - set(common))
    mix = frame.loc[frame["condition"].isin(common), "condition"].value_counts(normalize=True).to_dict()
    flag = f"without {', '.join(absent)}: not in every group" if absent else ""
    rows = []
    for group, members in frame.groupby("group", sort=True):
        crude = of_means([answers[:, members.index]], [members["cluster"]])
        row = {"group": group, "crude": crude.estimate, "standardised": np.nan, "low": np.nan, "high": np.nan}
        row |= {"images": len(members), "clusters": members["cluster"].nunique(), "runs": len(answers)}
        row |= {"conditions": len(common), "flags": f"{NOT_ESTIMABLE}: no condition occurs in every group"}
        if common:
            parts = [members[members["condition"] == name] for name in common]
            values, ids = [answers[:, part.index] for part in parts], [part["cluster"].to_numpy() for part in parts]
            found = of_means(values, ids, [mix[name] for name in common], level, proportion=True)
            row |= {"standardised": found.estimate, "low": found.low, "high": found.high}
            row["flags"] = "; ".join([flag, *found.flags] if flag else found.flags)
        rows.append(row)
    return pd.DataFrame(rows)


def cmh(tables: npt.ArrayLike) -> dict[str, float]:
    """Cochran-Mantel-Haenszel test of 2 x 2 tables, one per stratum (Mantel and Haenszel 1959, continuity-corrected).

    Returns odds_ratio (pooled), statistic, p, and Breslow-Day's p of equal odds ratios (Tarone's correction; NaN for
    one stratum); infinite or NaN where the cells leave no ratio.

    >>> round(cmh([[[10, 5], [5, 10]], [[8, 4], [4, 8]]])["odds_ratio"], 3)
    4.0
    """
    stack = np.asarray(tables, float)
    if stack.ndim != 3 or stack.shape[1:] != (2, 2) or (stack < 0).any():
        raise ValueError(f"expected (strata, 2, 2) counts >= 0, got shape {stack.shape}")
    fitted = StratifiedTable(stack.transpose(1, 2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):  # a product of cells may be 0: the result is infinite or NaN
        test, equal = fitted.test_null_odds(correction=True), fitted.test_equal_odds(adjust=True)
        return {
            "odds_ratio": float(fitted.oddsratio_pooled),
            "statistic": float(test.statistic),
            "p": float(test.pvalue),
            "breslow_day_p": float(equal.pvalue) if len(stack) > 1 else float("nan"),
        }


def cmh_by_run(
    correct: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    condition_ids: npt.ArrayLike,
    first: str,
    second: str,
    runs: Sequence | None = None,
) -> pd.DataFrame:
    """Mantel and Haenszel 1959 by run: odds of a correct answer in group `first` against `second`, within conditions.

    Conditional on these trained models, with images taken as independent. Columns: run, odds_ratio_crude, odds_ratio,
    p, breslow_day_p, conditions, flags. Conditions that lack a group, a correct or a wrong answer are uninformative and
    are counted in flags; where none is left, the row is not estimable.

    >>> args = ["I", "I", "VI", "VI"] * 4, ["x"] * 16, "I", "VI"
    >>> len(cmh_by_run([[1, 1, 1, 0] * 4], *args))
    1
    """
    every, groups = np.asarray(correct), np.asarray(group_ids).astype(str)
    conditions, rows = np.asarray(condition_ids).astype(str), []
    for run, answers in zip(range(len(every)) if runs is None else runs, every, strict=True):
        tables = np.array(
            [
                [
                    [((groups == g) & (conditions == name) & (answers == a)).sum() for a in (1, 0)]
                    for g in (first, second)
                ]
                for name in np.unique(conditions)
            ]
        )
        used = (tables.sum(1) > 0).all(1) & (tables.sum(2) > 0).all(1)
        row = {"run": run, **dict.fromkeys(("odds_ratio_crude", "odds_ratio", "p", "breslow_day_p"), np.nan)}
        silent = int((~used).sum())
        flags = [f"{silent} uninformative conditions"] if silent else []
        if not used.any():
            flags = [f"{NOT_ESTIMABLE}: no condition has both groups ({first}, {second}) and both answers"]
        else:
            (a, b), (c, d) = tables.sum(0)
            row["odds_ratio_crude"] = float(a * d / (b * c)) if b * c else np.nan
            test = cmh(tables[used])
            row |= {name: value for name, value in test.items() if name in row and np.isfinite(value)}
            if not np.isfinite(test["odds_ratio"]):
                flags.append("the odds ratio within conditions is infinite")
        rows.append(row | {"conditions": int(used.sum()), "flags": "; ".join(flags)})
    return pd.DataFrame(rows)


def deployment(
    predictions: pd.DataFrame | Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    mix: Sequence[Mapping],
    level: float = 0.95,
) -> pd.DataFrame:
    """Direct standardisation to a clinic's mix of patients: gain, and for malignancy TPR and PPV of both arms.

    mix: rows such as {condition: annular, fst_group: V-VI, share: .2}; a column that a row does not name is as it was
    tested. Shares are of all patients and sum to 1. TPR and PPV are ratios of sums over runs, as in `metrics`. Columns:
    metric, with_synthetic, without, change, low, high (of the change; MRMC, ratios linearised, clusters counted once
    within rows of the mix), images, flags. A part of the mix without a test image makes the row not estimable: it is
    not filled from elsewhere.
    Raises ValueError where shares do not sum to 1, a row is unknown, or two rows claim the same image.
    """
    block = estimands.block_of(estimands.as_blocks(predictions), treatment)
    cells, absent = _cells(block.images, mix)
    arms = [estimands.arm_of(block, arm) for arm in (treatment, control)]
    metrics = ["accuracy"] + (["tpr", "ppv"] if block.positive else [])
    row = dict.fromkeys(("with_synthetic", "without", "change", "low", "high"), np.nan)
    row |= {"images": int((cells >= 0).sum())}
    if absent:
        flag = f"{NOT_ESTIMABLE}: no test image for {sum(share for _, share in absent):.1%} of the mix, "
        return pd.DataFrame([{"metric": name, **row, "flags": f"{flag}first {absent[0][0]}"} for name in metrics])
    counted = [number for number, part in enumerate(mix) if (cells == number).any() and part["share"] > 0]
    parts = [np.flatnonzero(cells == number) for number in counted]
    shares = [float(mix[number]["share"]) for number in counted]
    ids = [block.images["cluster_id"].to_numpy()[members] for members in parts]
    rows = []
    for name in metrics:
        ours, theirs = (_linearised(block, arm, name, parts, ids, shares) for arm in arms)
        levels = [
            sum(s * (v @ once(c)).mean() for s, v, c in zip(shares, values, ids, strict=True))
            for values in (ours, theirs)
        ]
        one = row | {"metric": name, "with_synthetic": levels[0], "without": levels[1], "change": levels[0] - levels[1]}
        if np.isnan(one["change"]):
            rows.append(one | {"flags": f"{NOT_ESTIMABLE}: {UNDEFINED[name]}"})
            continue
        found = of_means([a - b for a, b in zip(ours, theirs, strict=True)], ids, shares, level)
        rows.append(one | {"low": found.low, "high": found.high, "flags": "; ".join(found.flags)})
    return pd.DataFrame(rows)


def _cells(images: pd.DataFrame, mix: Sequence[Mapping]) -> tuple[np.ndarray, list]:
    """(row of the mix of each image, -1 for none; rows without an image, with their shares)."""
    if not mix:
        raise ValueError("deployment: the mix is empty; give rows such as {fst_group: V-VI, share: 0.2}")
    shares = [part.get("share") for part in mix]
    proper = all(isinstance(s, int | float) and not isinstance(s, bool) and s >= 0 for s in shares)
    if not proper or abs(sum(part["share"] for part in mix) - 1) > 1e-6:
        raise ValueError(f"deployment: every row needs a share >= 0 and they must sum to 1; got {shares}")
    cells, absent = np.full(len(images), -1), []
    for number, part in enumerate(mix):
        where = {key: value for key, value in part.items() if key != "share"}
        members = select(images, **where).index
        if (cells[members] >= 0).any():
            raise ValueError(f"deployment: an image of {where} is also one of {dict(mix[cells[members].max()])}")
        cells[members] = number
        if not len(members) and part["share"] > 0:
            absent.append((where, part["share"]))
    return cells, absent


def _linearised(
    block: Block, arm: int, metric: str, parts: list[np.ndarray], ids: list[np.ndarray], shares: list[float]
) -> list[np.ndarray]:
    """(runs, images) values per row of the mix, whose weighted means sum to the rate; NaN where it is undefined."""
    members, correct = np.concatenate(parts), block.correct[arm]
    if metric == "accuracy":
        return [correct[:, part] for part in parts]
    truth = np.broadcast_to(block.images["y_true"].eq(block.positive).to_numpy(float), correct.shape)
    called = np.where(truth == 1, correct, 1 - correct)  # a wrong answer about benign is called malignant too
    total = truth if metric == "tpr" else called
    weight = np.concatenate([share * once(clusters) for share, clusters in zip(shares, ids, strict=True)])
    values = ratio((called * truth)[:, members], total[:, members], weight)
    return np.split(values, np.cumsum([len(part) for part in parts])[:-1], axis=1)
