"""Results as prose, written from the tables: one paragraph per result, every number through `numbers.show`."""

from collections.abc import Mapping

import pandas as pd

from .numbers import equals_p, show_cells, show_p

__all__ = [
    "claim",
    "dose",
    "exploratory",
    "fairness",
    "gain",
    "groups",
    "heterogeneity",
    "power",
    "sensitivity",
    "shrunken",
]

CONCLUSIONS = {
    "gain": "accuracy is expected to be higher",
    "loss": "accuracy is expected to be lower",
    "larger": "the first is expected to be larger",
    "smaller": "the first is expected to be smaller",
}
SCOPE = "For runs that vary as these do and new patients"  # where no table says what varied (see `stats.variation`)
UNTESTED = ("not run", "not estimable")


def _n(value: float, digits: int = 1) -> str:
    return show_cells(value, digits=digits)


def _signed(value: float) -> str:
    return show_cells(float(value), sign=True)


def _estimate(row: Mapping) -> str:
    """'+3.1 percentage points (−1.0 to +7.2; p = 0.14)', as far as there is an interval; p adjusted where it is. A
    one-sided test has its bound in place of an interval; a simultaneous interval follows where there is one."""
    text = f"{_signed(row['estimate'])} percentage points"
    if pd.isna(row["low"]):
        return text
    p = float(row["p"] if pd.isna(row.get("p_adjusted")) else row["p_adjusted"])
    if row.get("alternative") == "less":
        adjusted = float(row.get("high_adjusted", "nan"))
        wider = "" if pd.isna(adjusted) else f", {_signed(adjusted)} over its family"
        return f"{text} (one-sided upper bound {_signed(row['upper_bound'])}{wider}; one-sided p {equals_p(p)})"
    ends = f"{_signed(row['low'])} to {_signed(row['high'])}"
    if pd.notna(row.get("low_simultaneous")):
        ends += f"; simultaneously {_signed(row['low_simultaneous'])} to {_signed(row['high_simultaneous'])}"
    return f"{text} ({ends}; p {equals_p(p)})"


def gain(row: Mapping, what: str = "Adding synthetic images") -> str:
    """One tested gain: its estimate, what it rests on, and what it allows. row: of the table `tests`."""
    if row["verdict"] == "not run":
        return f"{what}: not run ({row['flags']})."
    if row["verdict"] == "not estimable":
        observed = "" if pd.isna(row["estimate"]) else f"changed accuracy by {_estimate(row)} in these runs, but "
        return f"{what} {observed}whether that generalises cannot be estimated ({row['flags']})."
    images, clusters, runs = (_n(int(row[key])) for key in ("images", "clusters", "runs"))
    basis = f"{images} test images of {clusters} patients or lesions and {runs} training runs"
    return f"{what} changed accuracy by {_estimate(row)}, on {basis}. {_conclusion(row)}"


def claim(row: Mapping) -> str:
    """One declared hypothesis of any kind. row: of the table `tests`."""
    if row["verdict"] in UNTESTED:
        return gain(row, "The difference")
    if row["kind"] == "gain":
        return f"Accuracy differs by {_estimate(row)}. {_conclusion(row, ' in the first arm')}"
    if row["kind"] == "difference":
        return f"The gains differ by {_estimate(row)}. {_conclusion(row)}"
    bound, margin = _signed(row["upper_bound"]), _n(float(row["margin"]))
    if row["kind"] == "equivalence":
        shown = "equivalent" if row["verdict"] == "equivalent" else "equivalence is not shown"
        return (
            f"Accuracy changes by {_estimate(row)} (two one-sided tests) against a margin of {margin} points; {shown}."
        )
    limit = f"any gain lies below {bound} points, within the margin of {margin}"
    if row["verdict"] == "not shown":
        limit = f"a gain of up to {bound} points cannot be excluded (margin {margin})"
    return f"Accuracy changes by {_estimate(row)}; {limit}."


def _conclusion(row: Mapping, where: str = "") -> str:
    """What a verdict allows to conclude; of a difference that is not shown, what remains possible."""
    if row["verdict"] in CONCLUSIONS:
        return f"{row.get('scope') or SCOPE}, {CONCLUSIONS[row['verdict']]}{where}."
    low, high = float(row["low"]), float(row["high"])
    if low > 0 or high < 0:
        return "Its own interval excludes zero, but not after correction within its family: no difference is claimed."
    span = f"anything from {_signed(low)} to {_signed(high)} points is compatible with these data"
    return f"This shows no difference, but not that there is none: {span}."


def exploratory(rows: pd.DataFrame, alpha: float = 0.05) -> str:
    """How many of many exploratory hypotheses remain after correction. rows: of a family under fdr_bh."""
    tested = rows[rows["p"].notna()]
    remaining = tested[tested["verdict"].isin(["gain", "loss"])]
    counts = [_n(len(rows)), _n(len(tested)), _n(len(remaining)), _n(int((tested["p_by"] <= alpha).sum()))]
    text = "Of {} exploratory hypotheses {} could be tested; {} remain significant after Benjamini-Hochberg"
    text = f"{text} and {{}} after Benjamini-Yekutieli correction".format(*counts)
    names = f": {'; '.join(remaining['id'])}" if len(remaining) else ""
    return f"{text}{names}. They generate hypotheses for another study and confirm none."


def groups(rows: pd.DataFrame, what: str) -> str:
    """Gains in each skin-type group: shown, not shown, or not testable. rows: of one family."""
    if rows.empty:
        return f"{what}: no such hypothesis was declared."
    parts = []
    for verdict, article in (("gain", "a "), ("loss", "a "), ("no difference shown", "")):
        members = [f"{_group(row['id'])} ({_estimate(row)})" for row in _with(rows, verdict).to_dict("records")]
        parts += [f"{article}{verdict} in {', '.join(members)}"] if members else []
    untested = _with(rows, *UNTESTED)
    if len(untested):
        names = ", ".join(_group(name) for name in untested["id"])
        parts.append(f"no conclusion for {names} ({untested['verdict'].iloc[0]})")
    caution = " Significance in one group but not in another is not a difference between them." * (len(rows) > 1)
    return f"{what}: {'; '.join(parts)}.{caution}"


def heterogeneity(rows: pd.DataFrame) -> str:
    """Whether gains differ between skin types. rows: of the family of differences."""
    tested = rows[~rows["verdict"].isin(UNTESTED)]
    if tested.empty:
        why = rows["flags"].iloc[0] if len(rows) else "no such hypothesis was declared"
        return f"Whether gains differ between skin types cannot be estimated: {why}."
    shown = _with(tested, "larger", "smaller").to_dict("records")
    if shown:
        parts = [f"{_group(row['id'])} ({row['verdict']}, by {_estimate(row)})" for row in shown]
        return f"Gains differ between skin types: {'; '.join(parts)}, each against I-II."
    widest = float(tested[["low", "high"]].abs().max(axis=None))
    possible = f"differences of up to {_n(widest)} points remain possible"
    return f"No difference between the gains of skin-type groups is shown; {possible}."


def fairness(accuracy: pd.DataFrame) -> str:
    """Worst group and gap of each arm beside its null. accuracy: of `by_group.accuracy_by_group`, one task."""
    parts = []
    for arm, rows in accuracy[accuracy["images"] > 0].groupby("arm", sort=False):
        name, known = str(arm), rows[rows["group"] != "unknown"]
        name = name[0].upper() + name[1:]
        if len(known) < 2 or known["gap"].isna().all():
            parts.append(f"{name}: fewer than two skin-type groups are known, so that no gap is defined.")
            continue
        worst, gap = known.loc[known["accuracy"].idxmin()], known.iloc[0]
        largest, chance, p = _n(100 * gap["gap"]), _n(100 * gap["null_mean"]), show_p(gap["gap_p"])
        parts.append(
            f"{name}: accuracy is lowest in {worst['group']} ({_n(100 * worst['accuracy'])} %); the gap between the"
            f" best and the worst group is {largest} points, against {chance} expected by chance (p = {p}, given these"
            " models and images)."
        )
    return " ".join(parts) or "Not run."


def dose(row: Mapping) -> str:
    """Where more synthetic images stop helping. row: of `dose_response.summary`."""
    if row["verdict"] == "not run":
        return f"Dose-response: not run ({row['reason']})."
    if row["verdict"] == "saturates":
        ends = f"({_n(float(row['ed90_low']))} to {_n(float(row['ed90_high']))})"
        text = "Accuracy saturates within the tested doses: nine tenths of the gain are reached at "
        text += f"{_n(float(row['ed90']))} {ends} synthetic images per real one. "
        if pd.isna(row["exponential_ed90"]):
            return text + "An exponential curve is not identified."
        return text + f"An exponential curve puts this dose at {_n(float(row['exponential_ed90']))}."
    change, low, high = (_signed(100 * row[key]) for key in ("last_step", "last_step_low", "last_step_high"))
    head = "Whether and where accuracy saturates is not identified"
    if row["verdict"] == "still rising":
        head = "Accuracy is still rising at the largest tested dose"
    reason = f" ({row['reason']})" if row["reason"] else ""
    return f"{head}{reason}. Between the two largest doses it changed by {change} points ({low} to {high})."


def power(row: Mapping, target: float) -> str:
    """What this run could detect. row: detectable, gain (both in points), power, needed_runs, needed_clusters."""
    if pd.isna(row["power"]):
        return "The power of this run cannot be estimated from one run or one cluster."
    least = "no gain at all"
    if pd.notna(row["detectable"]):
        least = f"a true gain of {_n(float(row['detectable']))} points or more"
    text = f"With its runs and images, the primary test detects {least} in {_n(100 * target, 0)} of 100 such "
    text += f"studies, and a gain of {_n(float(row['gain']))} points in {_n(100 * row['power'], 0)}. "
    units = (("needed_runs", "training runs", "images"), ("needed_clusters", "patients or lesions", "runs"))
    needs = []
    for name, what, other in units:
        never = f"with these {other}, no number of {what} suffices"
        needs.append(never if row[name] == float("inf") else f"{_n(int(row[name]))} {what} with these {other}")
    return text + f"To detect that gain in {_n(100 * target, 0)} of 100 studies: {'; or '.join(needs)}."


def sensitivity(rows: pd.DataFrame, alpha: float = 0.05) -> str:
    """Whether the answer depends on a choice of analysis. rows: of `stats.sensitivity`, the declared one first."""
    done = rows[rows["low"].notna()]
    if len(done) < 2:
        return "Sensitivity analysis: fewer than two variants were run."
    first = done.iloc[0]
    apart = done[(done["low"] > first["high"]) | (done["high"] < first["low"])]
    reversed_ = done[(done["estimate"] * first["estimate"] < 0) & (done["p"] <= alpha)]
    span = f"{_signed(done['estimate'].min())} to {_signed(done['estimate'].max())} points"
    text = f"Over {_n(len(done))} analyses the gain ranges from {span} ({_signed(first['estimate'])} as declared). "
    if len(reversed_):
        text += f"The sign reverses under: {', '.join(reversed_['id'])}. "
    elif len(apart):
        text += f"The interval does not overlap the declared one under: {', '.join(apart['id'])}. "
    else:
        text += "Every interval overlaps the declared one. "
    lost = int((rows["verdict"] == "not run").sum())
    return text + f"{_n(lost)} {'variant was' if lost == 1 else 'variants were'} not run."


def shrunken(table: pd.DataFrame) -> str:
    """How much the gains of small cells vary beyond chance, and the extremes after shrinkage. table: of
    `shrinkage.gains`."""
    first = table.iloc[0]
    if str(first["flags"]).startswith("not run"):
        return f"The gains of single cells were {first['flags']}."
    cells = table.dropna(subset=["shrunken", "estimate"])
    if cells.empty:
        return f"No cell of {len(table)} of condition and skin type was shrunken: too few have enough images."
    raw, pulled = ([_signed(end(cells[name])) for end in (min, max)] for name in ("estimate", "shrunken"))
    text = f"Over {len(cells)} of {len(table)} cells of condition and skin type the mean gain is "
    text += f"{_signed(first['mean'])} points; cells differ around it with a standard deviation of {_n(first['tau'])} "
    text += f"points. Alone, their gains range from {' to '.join(raw)}; shrunken, from {' to '.join(pulled)}. "
    above, below = int((cells["shrunken_low"] > 0).sum()), int((cells["shrunken_high"] < 0).sum())
    return text + f"{above} shrunken intervals lie above zero and {below} below; the tests of single cells stand in 05."


def _with(rows: pd.DataFrame, *verdicts: str) -> pd.DataFrame:
    return rows[rows["verdict"].isin(verdicts)]


def _group(name: object) -> str:
    return str(name).rpartition(", ")[2]
