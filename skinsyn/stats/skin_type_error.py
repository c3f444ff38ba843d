"""Skin type that is recorded with error: estimates by true group, from a validation sample read by experts.

The answers of images recorded as group r are a mixture over true groups t: mean(r) = sum over t of P(t | r) mean(t),
if the answer depends on the true type only, whatever was recorded. P(t | r) comes from the validation sample, and is
assumed equal across conditions and the same in the test images. Inverting the matrix gives the means by true group.

Two methods of Marshall 1990 (Journal of Clinical Epidemiology 43:941-947) give P(t | r). "predictive values" reads it
off; it stays right where validation images were drawn by recorded type, as long as they come from the data set that is
corrected, and is the default. "matrix" takes P(r | t) from the sample and the test images' own mix of recorded types;
it stays right for another mix of true types, but not for a sample drawn by recorded type. The two are shown together.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from . import estimands, skin_types
from .clusters import NOT_ESTIMABLE
from .predictions import Block
from .skin_types import UNKNOWN

METHODS = ("predictive values", "matrix")
ERRORS = (
    0.0,
    0.5,
    1.0,
    1.5,
)  # times the errors found in the validation sample: none, half, as found, half as many again
UNSOLVED = 0.05  # share of resamples without a solution above which no interval is given


class Corrected(NamedTuple):
    """An estimate by true group, as a proportion, with an interval; beside it, the estimate by recorded group."""

    estimate: float
    low: float
    high: float
    recorded: float
    flags: tuple[str, ...] = ()


def counts(true: Sequence[str] | pd.Series, recorded: Sequence[str] | pd.Series, groups: Sequence[str]) -> np.ndarray:
    """Validation images by true (rows) and recorded group (columns); rows unknown to either are left out.

    >>> counts(["I", "I", "V"], ["I", "V", "unknown"], ["I", "V"]).tolist()
    [[1, 1], [0, 0]]
    """
    table = pd.crosstab(np.asarray(true, str), np.asarray(recorded, str))
    return table.reindex(index=list(groups), columns=list(groups), fill_value=0).to_numpy()


def predictive(
    sample: np.ndarray, mix: np.ndarray, method: str = "predictive values", errors: float = 1.0
) -> np.ndarray:
    """Marshall 1990: (..., recorded, true) matrix of P(true | recorded); NaN where there is none.

    sample: (..., true, recorded) counts. mix: images by recorded group (for "matrix" only). errors: the matrix becomes
    I + errors (Q - I): 0 takes the recorded type for the true one, 2 doubles the errors. A matrix with a negative entry
    or without an inverse of positive determinant is none.

    >>> predictive(np.array([[8, 1], [2, 9]]), np.array([1, 1])).tolist()
    [[0.8, 0.2], [0.1, 0.9]]
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    found, eye = np.asarray(sample, float), np.eye(len(mix))
    with np.errstate(invalid="ignore", divide="ignore"):
        if method == "matrix":
            given_true = np.swapaxes(found / found.sum(-1, keepdims=True), -1, -2)
            solvable = np.abs(np.linalg.det(np.nan_to_num(given_true))) > 1e-9
            safe = np.where(solvable[..., None, None], np.nan_to_num(given_true), eye)
            size = np.linalg.solve(safe, np.broadcast_to(np.asarray(mix, float)[:, None], (*safe.shape[:-1], 1)))
            matrix = safe * np.swapaxes(size, -1, -2) / np.asarray(mix, float)[:, None]
            matrix = np.where(solvable[..., None, None], matrix, np.nan)
        else:
            matrix = np.swapaxes(found / found.sum(-2, keepdims=True), -1, -2)
    matrix = eye + errors * (matrix - eye)
    whole = np.nan_to_num(matrix, nan=-1.0)
    proper = (whole >= -1e-12).all((-1, -2)) & (np.linalg.det(whole) > 1e-6)
    return np.where(proper[..., None, None], matrix, np.nan)


def corrected(
    values: np.ndarray,
    group_ids: Sequence[str] | np.ndarray | pd.Series,
    cluster_ids: Sequence | np.ndarray | pd.Series,
    sample: np.ndarray,
    groups: Sequence[str],
    contrasts: Mapping[str, Mapping[str, float]],
    method: str = "predictive values",
    errors: float = 1.0,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Corrected]:
    """Marshall 1990, inverse matrix: contrasts of true groups, with runs, clusters and the validation sample random.

    values: (runs, images). group_ids: recorded, "unknown" is left out. sample: `counts` of `groups`. contrasts: name to
    weight by true group. The estimate is a sum of means by recorded group with weights c Q^-1. Each draw resamples the
    validation sample (within recorded group, or true group for "matrix"), takes the estimate and its Hillis 2007
    variance under the resampled matrix, and adds Student's t times the standard error (probabilistic bias analysis,
    Lash, Fox and Fink 2009, ch. 8); the interval is that of percentiles. Too few draws with a solution: flagged.

    >>> answers = np.array([[1.0, 0.0, 1.0, 0.0]] * 2)
    >>> sample = np.array([[9, 0], [0, 9]])
    >>> corrected(answers, list("IIVV"), range(4), sample, ["I", "V"], {"I": {"I": 1.0}})["I"].estimate
    0.5
    """
    ids, clusters = np.asarray(group_ids).astype(str), np.asarray(cluster_ids).astype(str)
    members = {name: np.flatnonzero(ids == name) for name in groups}
    empty = [name for name in groups if not len(members[name])]
    unread = [name for name, read in zip(groups, np.asarray(sample).sum(0), strict=True) if not read]
    if empty or unread:
        what = f"no test image is recorded as {', '.join(empty)}"
        why = f"{NOT_ESTIMABLE}: " + (what if empty else f"the sample holds none recorded as {', '.join(unread)}")
        return dict.fromkeys(contrasts, Corrected(np.nan, np.nan, np.nan, np.nan, (why,)))
    mix = np.array([len(np.unique(clusters[members[name]])) for name in groups])
    means, variance = _moments(values, members, clusters, groups, level)
    point = predictive(sample, mix, method, errors)
    drawn = predictive(_resampled(np.asarray(sample), method, draws, np.random.default_rng(seed)), mix, method, errors)
    drawn = drawn[np.isfinite(drawn).all((-1, -2))]
    lost, results = 1 - len(drawn) / draws, {}
    noise = np.random.default_rng([seed, 1]).random(len(drawn))  # one for all contrasts, which share their draws
    for name, weights in contrasts.items():
        wanted = np.array([float(weights.get(group, 0.0)) for group in groups])
        recorded = float(wanted @ means)
        if not np.isfinite(point).all():
            why = f"{NOT_ESTIMABLE}: the matrix has no solution for these images"
            results[name] = Corrected(np.nan, np.nan, np.nan, recorded, (why,))
            continue
        by_recorded = dict(zip(groups, np.linalg.solve(point.T, wanted), strict=True))
        gain = skin_types.mean_of(values, members, clusters, by_recorded, level)
        flags, low, high = list(gain.flags), np.nan, np.nan
        if lost > UNSOLVED:
            flags.append(f"no interval: {lost:.0%} of resampled matrices have no solution")
        elif not np.isfinite(variance).all():
            flags.append(f"{NOT_ESTIMABLE}: one cluster or one run in a recorded group")
        elif gain.estimable:
            low, high = _interval(drawn, wanted, means, variance, stats.t.ppf(noise, gain.df), level)
        results[name] = Corrected(gain.estimate, low, high, recorded, tuple(flags))
    return results


def table(
    prepared: Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    reads: pd.DataFrame,
    tasks: Sequence[str] | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Gain, both arms' accuracies and gaps by true skin-type group [points], for each annotator that experts read.

    reads: expert_group, and <annotator>_group for each annotator; its images' fact is fst_group_<annotator>. Columns:
    annotator, task, quantity, group, method, errors, estimate, low, high, recorded (as recorded, uncorrected),
    images, validated, runs, flags. Errors other than 1 are a sensitivity analysis (see `predictive`).
    """
    rows: list[dict] = []
    for annotator in [
        name.removesuffix("_group") for name in reads if name.endswith("_group") and name != "expert_group"
    ]:
        for task in estimands.tasks_of(prepared) if tasks is None else tasks:
            rows += _rows(prepared, treatment, control, reads, annotator, task, draws, seed, level)
    return as_table(rows)


def as_table(rows: Sequence[Mapping]) -> pd.DataFrame:
    """Rows with the columns of `table`, e.g. one that says why there is none.

    >>> as_table([{"flags": "not run"}])["flags"].tolist()
    ['not run']
    """
    order = "annotator task quantity group method errors estimate low high recorded images validated runs flags"
    return pd.DataFrame(list(rows)).reindex(columns=order.split())


def _rows(prepared, treatment, control, reads, annotator, task, draws, seed, level) -> list[dict]:
    """All rows of one annotator and one task."""
    row = {"annotator": annotator, "task": task, "quantity": "", "group": ""}
    try:
        images, values = skin_types.answers(prepared, treatment, control, task)
    except estimands.NotRun as missing:
        return [row | {"flags": f"not run: {missing}"}]
    fact = f"fst_group_{annotator}"
    if fact not in images:
        return [row | {"flags": f"not run: the test images have no skin type by {annotator}"}]
    groups = skin_types.known_groups(reads["expert_group"])
    sample = counts(reads["expert_group"], reads[f"{annotator}_group"], groups)
    known = images[fact] != UNKNOWN
    row |= {"images": int(known.sum()), "validated": int(sample.sum())}
    left_out = f"{int((~known).sum())} images of unknown type left out" if (~known).any() else ""
    found, wanted = [], skin_types.contrasts_of(groups)
    for quantity, answers in values.items():
        for method, errors in [(METHODS[0], scale) for scale in ERRORS] + [(METHODS[1], 1.0)]:
            by = images[fact], images["cluster_id"]
            result = corrected(answers, *by, sample, groups, wanted, method, errors, draws, seed, level)
            for name, one in result.items():
                points: dict = {key: 100 * getattr(one, key) for key in ("estimate", "low", "high", "recorded")}
                points |= {"quantity": quantity, "group": name, "method": method, "errors": errors}
                flags = "; ".join([*one.flags, *([left_out] if left_out else [])])
                found.append(row | points | {"runs": len(answers), "flags": flags})
    return found


def _moments(values, members, clusters, groups, level) -> tuple[np.ndarray, np.ndarray]:
    """Means by recorded group, and their (groups, groups) covariance with runs and clusters random (Hillis 2007)."""
    alone = [skin_types.mean_of(values, members, clusters, {name: 1.0}, level) for name in groups]
    variance = np.diag([_square(gain, values[:, members[name]]) for gain, name in zip(alone, groups, strict=True)])
    for i, first in enumerate(groups):
        for j in range(i):
            both = skin_types.mean_of(values, members, clusters, {first: 1.0, groups[j]: 1.0}, level)
            total = both.se**2 if both.estimable else variance[i, i] + variance[j, j]
            variance[i, j] = variance[j, i] = (total - variance[i, i] - variance[j, j]) / 2
    return np.array([gain.estimate for gain in alone]), variance


def _interval(
    drawn: np.ndarray, wanted: np.ndarray, means: np.ndarray, variance: np.ndarray, noise: np.ndarray, level: float
) -> tuple[float, float]:
    """Percentiles of the estimate under each resampled matrix plus Student's noise times its standard error."""
    right = np.broadcast_to(wanted[:, None], (len(drawn), len(wanted), 1))
    shares = np.linalg.solve(np.swapaxes(drawn, -1, -2), right)[..., 0]
    spread = np.sqrt(np.maximum(np.einsum("dr,rs,ds->d", shares, variance, shares), 0.0))
    low, high = np.quantile(shares @ means + spread * noise, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _square(gain, values: np.ndarray) -> float:
    """SE^2; 0 where every answer is the same, which is no reason to give up the other groups."""
    return 0.0 if not gain.estimable and len(values) > 1 and np.ptp(values) == 0 else gain.se**2


def _resampled(sample: np.ndarray, method: str, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, true, recorded) counts of the sample drawn anew: within recorded group, or within true group."""
    if method == "matrix":
        parts = [rng.multinomial(row.sum(), row / max(row.sum(), 1), draws) for row in sample]
        return np.stack(parts, axis=1)
    parts = [rng.multinomial(column.sum(), column / max(column.sum(), 1), draws) for column in sample.T]
    return np.stack(parts, axis=2)
