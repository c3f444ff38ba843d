"""Standardisation: accuracy at one mix of conditions, odds ratios within conditions, and a clinic's mix of patients."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import StratifiedTable

from . import bootstrap, estimands
from .predictions import POSITIVE, Block, select


def by_condition_mix(
    correct: np.ndarray,
    group_ids: Sequence,
    condition_ids: Sequence,
    cluster_ids: Sequence,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Direct standardisation, sum over k of w_k p_gk: accuracy by group at the mix of conditions k of all images.

    correct: (runs, images) of 0/1. The mix is that of all images, over the conditions that every group holds; what is
    left out is named in flags. Columns: group, crude, standardised, low, high (of standardised), images, clusters,
    runs, conditions, flags. A cluster counts once within group and condition. ValueError where shapes do not fit.

    >>> table = by_condition_mix([[1, 0, 1, 1]] * 2, ["I", "VI"] * 2, ["x", "x", "y", "y"], range(4), draws=20)
    >>> table[["group", "standardised"]].values.tolist()
    [['I', 1.0], ['VI', 0.5]]
    """
    correct, frame = np.asarray(correct, float), pd.DataFrame({"group": np.asarray(group_ids).astype(str)})
    frame = frame.assign(condition=np.asarray(condition_ids).astype(str), cluster=np.asarray(cluster_ids).astype(str))
    if correct.ndim != 2 or correct.shape[1] != len(frame):
        raise ValueError(f"correct {correct.shape} and {len(frame)} group ids do not fit together")
    held = frame.groupby("group")["condition"].agg(set)
    common = sorted(set.intersection(*held))
    lost = sorted(set(frame["condition"]) - set(common))
    mix = frame.loc[frame["condition"].isin(common), "condition"].value_counts(normalize=True)
    note = f"without {', '.join(lost)}: not in every group" if lost else ""
    rows, options = [], {"draws": draws, "seed": seed, "level": level}
    for group, members in frame.groupby("group", sort=True):
        part = members[members["condition"].isin(common)]
        row = {"group": group, "crude": _mean_of_clusters(correct, members)}
        row |= dict.fromkeys(("standardised", "low", "high"), np.nan)
        row |= {"images": len(members), "clusters": members["cluster"].nunique(), "runs": len(correct)}
        row |= {"conditions": len(common), "flags": note}
        if not common:
            row["flags"] = "not estimable: no condition is held by every group"
        else:
            tables = [_table(correct, part[part["condition"] == name]) for name in common]
            shares = [float(mix[name]) for name in common]
            row["standardised"] = float(sum(w * t.mean() for w, t in zip(shares, tables, strict=True)))
            row["low"], row["high"] = _interval(tables, shares, **options)
        rows.append(row)
    return pd.DataFrame(rows)


def cmh(tables: Sequence[np.ndarray]) -> dict[str, float]:
    """Cochran-Mantel-Haenszel test of 2 x 2 tables, one per stratum (Mantel and Haenszel 1959, continuity-corrected).

    Returns odds_ratio (pooled), statistic, p, and Breslow-Day's p of equal odds ratios (Tarone's correction); infinite
    or NaN where the cells leave no ratio.

    >>> round(cmh([[[10, 5], [5, 10]], [[8, 4], [4, 8]]])["odds_ratio"], 3)
    4.0
    """
    stack = np.asarray(tables, float)
    if stack.ndim != 3 or stack.shape[1:] != (2, 2) or (stack < 0).any():
        raise ValueError(f"expected (strata, 2, 2) counts >= 0, got shape {stack.shape}")
    fitted = StratifiedTable(stack.transpose(1, 2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):  # a product of cells may be 0: infinity or NaN comes out
        test, equal = fitted.test_null_odds(correction=True), fitted.test_equal_odds(adjust=True)
        return {
            "odds_ratio": float(fitted.oddsratio_pooled),
            "statistic": float(test.statistic),
            "p": float(test.pvalue),
            "breslow_day_p": float(equal.pvalue),
        }


def cmh_by_run(
    correct: np.ndarray,
    group_ids: Sequence,
    condition_ids: Sequence,
    first: str,
    second: str,
    runs: Sequence | None = None,
) -> pd.DataFrame:
    """Odds of a right answer in group `first` against `second`, crude and within conditions, one run at a time.

    Holds given these trained models, images taken as independent. Columns: run, odds_ratio_crude, odds_ratio, p,
    breslow_day_p, conditions, flags. Conditions that lack a group, a right or a wrong answer say nothing and are
    counted in flags; where none is left, the row is not estimable.

    >>> args = ["I", "I", "VI", "VI"] * 4, ["x"] * 16, "I", "VI"
    >>> len(cmh_by_run([[1, 1, 1, 0] * 4], *args))
    1
    """
    correct, groups = np.asarray(correct), np.asarray(group_ids).astype(str)
    conditions, rows = np.asarray(condition_ids).astype(str), []
    for run, answers in zip(range(len(correct)) if runs is None else runs, correct, strict=True):
        tables = []
        for name in np.unique(conditions):
            cells = [
                [((groups == g) & (conditions == name) & (answers == a)).sum() for a in (1, 0)] for g in (first, second)
            ]
            tables.append(np.array(cells))
        used = [t for t in tables if (t.sum(1) > 0).all() and (t.sum(0) > 0).all()]
        row = {"run": run, **dict.fromkeys(("odds_ratio_crude", "odds_ratio", "p", "breslow_day_p"), np.nan)}
        silent = len(tables) - len(used)
        row |= {"conditions": len(used), "flags": f"{silent} conditions say nothing" if silent else ""}
        if not used:
            row["flags"] = f"not estimable: no condition has both groups ({first}, {second}) and both answers"
        else:
            (a, b), (c, d) = np.sum(tables, axis=0)
            row["odds_ratio_crude"] = float(a * d / (b * c)) if b * c else np.nan
            found = _cmh_or_nothing(used)
            row |= {name: value for name, value in found.items() if name in row and np.isfinite(value)}
            if not np.isfinite(found["odds_ratio"]):
                row["flags"] = "; ".join(filter(None, [row["flags"], "the odds ratio within conditions is infinite"]))
        rows.append(row)
    return pd.DataFrame(rows)


def deployment(
    predictions: pd.DataFrame | Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    mix: Sequence[Mapping],
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Gain, and in malignancy TPR and PPV of both arms, at the mix of patients that a clinic sees.

    mix: rows such as {condition: annular, fst_group: V-VI, share: .2}; a column that a row does not name is as it was
    tested. Shares are of all patients and sum to 1. Columns: metric, with_synthetic, without, change, low, high (of the
    change; two-way bootstrap, clusters within rows of the mix), images, flags. A part of the mix without a test image
    makes the row not estimable: it is not filled from elsewhere.
    Raises ValueError where shares do not sum to 1, a row is unknown, or two rows claim the same image.
    """
    block = estimands.block_of(estimands.as_blocks(predictions), treatment)
    cells, absent = _cells(block.images, mix)
    arms = [estimands.arm_of(block, arm) for arm in (treatment, control)]
    metrics = ["accuracy"] + (["tpr", "ppv"] if POSITIVE in block.classes else [])
    row = dict.fromkeys(("with_synthetic", "without", "change", "low", "high"), np.nan) | {
        "images": int((cells >= 0).sum())
    }
    if absent:
        flags = (
            f"not estimable: no test image for {sum(share for _, share in absent):.1%} of the mix, first {absent[0][0]}"
        )
        return pd.DataFrame([{"metric": name, **row, "flags": flags} for name in metrics])
    used = np.flatnonzero(cells >= 0)
    frame = block.images.iloc[used].assign(cell=cells[used])
    codes, names = pd.factorize(
        pd.MultiIndex.from_frame(frame[["cell", "cluster_id"]].astype({"cluster_id": str})), sort=True
    )
    strata, shares = np.asarray(names.get_level_values(0)), {i: float(part["share"]) for i, part in enumerate(mix)}
    sums = _sums(block, arms, used)  # (runs, images, 2 arms × 4)
    values = np.zeros((len(names), *sums.shape[::2]))
    np.add.at(values, codes, sums.transpose(1, 0, 2))
    values = (values / np.bincount(codes)[:, None, None]).transpose(1, 0, 2)
    present = {cell: share for cell, share in shares.items() if (strata == cell).any()}
    weight = np.array([present[cell] / (strata == cell).sum() for cell in strata])
    point = np.einsum("rkc,k->c", values, weight)[None] / len(values)
    drawn = bootstrap.two_way_means(values, strata, draws, np.random.default_rng(seed), present)
    enough = len(values) > 1
    rows = []
    for name, (here, many) in _rates(point, drawn, metrics).items():
        change = many[:, 0] - many[:, 1]
        one = {"metric": name, "with_synthetic": here[0, 0], "without": here[0, 1], "change": here[0, 0] - here[0, 1]}
        ends = (
            np.nanquantile(change, [(1 - level) / 2, (1 + level) / 2])
            if enough and np.isfinite(change).any()
            else [np.nan] * 2
        )
        rows.append(
            row | one | {"low": ends[0], "high": ends[1], "flags": "" if enough else "not estimable: one run only"}
        )
    return pd.DataFrame(rows)


def _cells(images: pd.DataFrame, mix: Sequence[Mapping]) -> tuple[np.ndarray, list]:
    """(row of the mix for each image, -1 for none; rows without an image, with their shares)."""
    if not mix:
        raise ValueError("deployment: the mix is empty; give rows such as {fst_group: V-VI, share: 0.2}")
    shares = [part.get("share") for part in mix]
    if (
        any(isinstance(s, bool) or not isinstance(s, int | float) or s < 0 for s in shares)
        or abs(sum(shares) - 1) > 1e-6
    ):
        raise ValueError(f"deployment: every row needs a share >= 0 and they must sum to 1; got {shares}")
    cells, absent = np.full(len(images), -1), []
    for number, part in enumerate(mix):
        where = {key: value for key, value in part.items() if key != "share"}
        found = select(images, **where).index
        if (cells[found] >= 0).any():
            raise ValueError(f"deployment: an image of {where} is also one of {dict(mix[cells[found].max()])}")
        cells[found] = number
        if not len(found) and part["share"] > 0:
            absent.append((where, part["share"]))
    return cells, absent


def _sums(block: Block, arms: Sequence[int], used: np.ndarray) -> np.ndarray:
    """(runs, images, 2 × 4): right, called malignant, malignant and called, malignant; of both arms."""
    parts = []
    for arm in arms:
        right = block.correct[arm][:, used]
        truth = np.broadcast_to(block.images["y_true"].eq(POSITIVE).to_numpy(float)[used], right.shape)
        called = np.where(truth == 1, right, 1 - right)  # right about malignant means called, wrong about benign too
        parts += [right, called, called * truth, truth]
    return np.stack(parts, axis=-1)


def _rates(point: np.ndarray, drawn: np.ndarray, metrics: Sequence[str]) -> dict[str, tuple]:
    """metric → (of the images in hand (1, 2 arms), of the resamples (draws, 2 arms))."""

    def rate(sums: np.ndarray, name: str) -> np.ndarray:
        right, called, hit, truth = (sums.reshape(len(sums), 2, 4)[:, :, i] for i in range(4))
        total = right * 0 + 1 if name == "accuracy" else truth if name == "tpr" else called
        return np.where(total > 0, (right if name == "accuracy" else hit) / np.where(total > 0, total, 1), np.nan)

    return {name: (rate(point, name), rate(drawn, name)) for name in metrics}


def _mean_of_clusters(correct: np.ndarray, members: pd.DataFrame) -> float:
    return float(_table(correct, members).mean())


def _table(correct: np.ndarray, members: pd.DataFrame) -> np.ndarray:
    """(runs, clusters) shares right."""
    codes, names = pd.factorize(members["cluster"], sort=True)
    sums = np.zeros((len(names), len(correct)))
    np.add.at(sums, codes, correct[:, members.index].T)
    return (sums / np.bincount(codes)[:, None]).T


def _interval(tables: Sequence[np.ndarray], weights: Sequence[float], draws: int, seed: int, level: float) -> tuple:
    """Two-way bootstrap interval; a condition of one cluster keeps it in every resample."""
    if len(tables[0]) < 2:
        return np.nan, np.nan
    strata = np.repeat(np.arange(len(tables)), [table.shape[1] for table in tables])
    values = np.concatenate(tables, axis=1)[:, :, None]
    drawn = bootstrap.two_way_means(values, strata, draws, np.random.default_rng(seed), dict(enumerate(weights)))[:, 0]
    return tuple(map(float, np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])))


def _cmh_or_nothing(tables: list[np.ndarray]) -> dict[str, float]:
    """CMH of the strata; Breslow-Day needs two of them."""
    found = cmh(tables)
    return found if len(tables) > 1 else found | {"breslow_day_p": float("nan")}
