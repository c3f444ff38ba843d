"""Results in plain words, written from the numbers: a paragraph a result, every number through `numbers.show`."""

from collections.abc import Mapping

import pandas as pd

from .numbers import number, show, show_p

__all__ = ["claim", "dose", "exploratory", "fairness", "gain", "groups", "heterogeneity", "power", "sensitivity"]

POINTS = "percentage points"


def _n(value: float | int, digits: int = 1, sign: bool = False) -> str:
    return show(number(None if pd.isna(value) else value), digits, sign)


def _estimate(row: Mapping) -> str:
    """'+3.1 percentage points (95 % interval -1.0 to +7.2, adjusted p 0.14)', as far as there is one."""
    text = f"{_n(float(row['estimate']), sign=True)} {POINTS}"
    if pd.isna(row["low"]):
        return text
    p = row.get("p_adjusted")
    p = row.get("p") if p is None or pd.isna(p) else p
    said = "p " + (show_p(p) if p < 0.001 else f"= {show_p(p)}")
    return f"{text} ({_n(float(row['low']), sign=True)} to {_n(float(row['high']), sign=True)}; {said})"


def gain(row: Mapping, what: str = "Adding synthetic images") -> str:
    """One tested gain: what was found, what it rests on, and what it allows. row: of the table `tests`."""
    if row["verdict"] == "not run":
        return f"{what}: not run ({row['flags']})."
    if row["verdict"] == "not estimable":
        found = "" if pd.isna(row["estimate"]) else f"changed accuracy by {_estimate(row)} in these runs, but "
        return f"{what} {found}whether that would happen again cannot be estimated ({row['flags']})."
    images, clusters, runs = (_n(int(row[key])) for key in ("images", "clusters", "runs"))
    rests = f"{images} test images of {clusters} patients or lesions and {runs} training runs"
    text = f"{what} changed accuracy by {_estimate(row)}, on {rests}. "
    if row["verdict"] in ("gain", "loss"):
        better = "higher" if row["verdict"] == "gain" else "lower"
        return text + f"For new training runs and new patients, accuracy is expected to be {better}."
    return text + _open(row)


def claim(row: Mapping) -> str:
    """One declared hypothesis of any kind. row: of the table `tests`."""
    if row["verdict"] in ("not run", "not estimable"):
        return gain(row, "The difference")
    if row["kind"] == "gain":
        text = f"Accuracy differs by {_estimate(row)}. "
        said = {"gain": "higher in the first arm", "loss": "lower in the first arm"}.get(row["verdict"])
        return text + (f"For new runs and new patients it is expected to be {said}." if said else _open(row))
    if row["kind"] == "difference":
        said = {"larger": "The first is expected to be larger.", "smaller": "The first is expected to be smaller."}
        return f"The gains differ by {_estimate(row)}. {said.get(row['verdict']) or _open(row)}"
    bound, margin = _n(float(row["upper_bound"]), sign=True), _n(float(row["margin"]))
    if row["kind"] == "equivalence":
        shown = "equivalent" if row["verdict"] == "equivalent" else "equivalence is not shown"
        return f"A change of {_estimate(row)} against a margin of {margin} points; {shown}."
    if row["verdict"] == "not shown":
        return f"A change of {_estimate(row)}; a gain of up to {bound} points cannot be excluded (margin {margin})."
    return f"A change of {_estimate(row)}; any gain lies below {bound} points, within the margin of {margin}."


def exploratory(rows: pd.DataFrame) -> str:
    """How many of many exploratory hypotheses are left after correction. rows: of a family under fdr_bh."""
    tested = rows[rows["p"].notna()]
    by = int((tested["p_by"] <= 0.05).sum())
    held = tested[tested["verdict"].isin(["gain", "loss"])]
    text = f"Of {_n(len(rows))} exploratory hypotheses {_n(len(tested))} could be tested; "
    text += f"{_n(len(held))} are left after Benjamini-Hochberg, {_n(by)} after Benjamini-Yekutieli"
    return (
        text
        + (f": {'; '.join(held['id'])}." if len(held) else ".")
        + " They are leads for another study, not findings."
    )


def groups(rows: pd.DataFrame, what: str) -> str:
    """Gains in each skin-type group: which were shown, which not, which could not be tested. rows: of one family."""
    if rows.empty:
        return f"{what}: no such hypothesis was declared."
    parts = {name: rows[rows["verdict"] == name] for name in ("gain", "loss", "no difference shown")}
    said = [f"a {name} in {_listed(part)}" for name, part in parts.items() if len(part) and name in ("gain", "loss")]
    if len(parts["no difference shown"]):
        said.append(f"no difference shown in {_listed(parts['no difference shown'])}")
    silent = rows[~rows["verdict"].isin(list(parts))]
    if len(silent):
        said.append(
            f"nothing can be said of {', '.join(_group(one) for one in silent['id'])} ({silent['verdict'].iloc[0]})"
        )
    end = (
        " That one group reaches significance and another does not is no difference between them."
        if len(rows) > 1
        else ""
    )
    return f"{what}: {'; '.join(said)}.{end}"


def heterogeneity(rows: pd.DataFrame) -> str:
    """Whether gains differ between skin types. rows: of the family of differences."""
    tested = rows[~rows["verdict"].isin(["not run", "not estimable"])]
    if tested.empty:
        why = rows["flags"].iloc[0] if len(rows) else "no such hypothesis was declared"
        return f"Whether gains differ between skin types cannot be said: {why}."
    found = tested[tested["verdict"].isin(["larger", "smaller"])]
    if len(found):
        said = [f"{_group(row['id'])} ({row['verdict']}, by {_estimate(row)})" for row in found.to_dict("records")]
        return f"Gains differ between skin types: {'; '.join(said)}, each against I-II."
    widest = max(max(abs(row["low"]), abs(row["high"])) for row in tested.to_dict("records"))
    possible = f"differences of up to {_n(float(widest))} points remain possible"
    return f"No difference between the gains of skin-type groups is shown; {possible}."


def fairness(accuracy: pd.DataFrame) -> str:
    """Worst group and gap of each arm beside its null. accuracy: of `by_group.accuracy_by_group`, one task."""
    said = []
    for arm, rows in accuracy[accuracy["images"] > 0].groupby("arm", sort=False):
        known = rows[rows["group"] != "unknown"]
        if len(known) < 2 or known["gap"].isna().all():
            said.append(f"{arm}: fewer than two skin-type groups are known, so there is no gap to speak of")
            continue
        worst, gap = known.loc[known["accuracy"].idxmin()], known["gap"].iloc[0]
        text = f"{arm}: lowest in {worst['group']} ({_n(100 * worst['accuracy'])} %), largest minus smallest"
        p, usual = known["gap_p"].iloc[0], 100 * known["null_mean"].iloc[0]
        chance = f"where chance alone makes {_n(usual)} on average (p = {show_p(p)}, for these models and images)"
        said.append(f"{text} group {_n(100 * gap)} points, {chance}")
    return f"{'. '.join(text[0].upper() + text[1:] for text in said)}." if said else "Not run."


def dose(row: Mapping) -> str:
    """Where more synthetic images stop helping. row: of `dose_response.summary`."""
    if row["verdict"] == "not run":
        return f"Where more synthetic images stop helping: not run ({row['reason']})."
    if row["verdict"] == "saturates":
        ends = f"({_n(float(row['ed90_low']))} to {_n(float(row['ed90_high']))})"
        text = "Accuracy saturates within the tested doses: nine tenths of the gain are reached at "
        text += f"{_n(float(row['ed90']))} {ends} images per real one. "
        if pd.isna(row["exponential_ed90"]):
            return text + "The exponential curve is not identified."
        return text + f"Another curve, the exponential, puts it at {_n(float(row['exponential_ed90']))}."
    change, *ends = (_n(100 * row[key], sign=True) for key in ("last_step", "last_step_low", "last_step_high"))
    step = f"{change} points ({ends[0]} to {ends[1]})"
    head = "Whether and where accuracy saturates is not identified"
    if row["verdict"] == "still rising":
        head = "Accuracy is still rising at the largest tested dose"
    reason = f" ({row['reason']})" if row["reason"] else ""
    return f"{head}{reason}. From the last dose but one to the last it changed by {step}."


def power(given: Mapping, target: float) -> str:
    """What this run could have found. given: detectable, gain (both in points), power, needed_runs, needed_clusters."""
    if pd.isna(given["power"]):
        return "What this run could have found cannot be estimated from one run or one cluster."
    least = "no gain at all"
    if pd.notna(given["detectable"]):
        least = f"a true gain of {_n(float(given['detectable']))} points or more"
    text = f"With the runs and images in hand, the primary test finds {least} in {_n(100 * target, 0)} of 100 such "
    text += f"studies; one of {_n(float(given['gain']))} points in {_n(100 * given['power'], 0)}. "
    needs = []
    for name, what, other in (
        ("needed_runs", "training runs", "images"),
        ("needed_clusters", "patients or lesions", "runs"),
    ):
        value = given[name]
        never = f"with these {other}, no number of {what} suffices"
        needs.append(never if value == float("inf") else f"{_n(int(value))} {what} with these {other}")
    return text + f"To find that gain as surely: {'; or '.join(needs)}."


def sensitivity(rows: pd.DataFrame) -> str:
    """Whether the answer hangs on a choice. rows: of `sensitivity.side_by_side`; the first is the declared one."""
    done = rows[rows["low"].notna()]
    if len(done) < 2:
        return "Sensitivity: fewer than two variants were run."
    first = done.iloc[0]
    apart = done[(done["low"] > first["high"]) | (done["high"] < first["low"])]
    turned = done[(done["estimate"] * first["estimate"] < 0) & (done["p"] <= 0.05)]
    span = (
        f"from {_n(float(done['estimate'].min()), sign=True)} to {_n(float(done['estimate'].max()), sign=True)} points"
    )
    text = (
        f"Asked in {_n(len(done))} ways, the gain runs {span} ({_n(float(first['estimate']), sign=True)} as declared). "
    )
    if len(turned):
        text += f"It turns round under: {', '.join(turned['id'])}. "
    elif len(apart):
        text += f"Intervals do not meet under: {', '.join(apart['id'])}. "
    else:
        text += "Every interval meets the declared one. "
    return text + f"{_n(int((rows['verdict'] == 'not run').sum()))} variants were not run."


def _open(row: Mapping) -> str:
    """What a difference that is not shown leaves possible."""
    low, high = float(row["low"]), float(row["high"])
    if low > 0 or high < 0:
        return "Its own interval leaves out zero, but not after correction within its family: no difference is claimed."
    span = f"anything from {_n(low, sign=True)} to {_n(high, sign=True)} points is compatible with it"
    return f"This shows no difference, and not that there is none: {span}."


def _group(name: str) -> str:
    return str(name).rpartition(", ")[2]


def _listed(rows: pd.DataFrame) -> str:
    return ", ".join(f"{_group(row['id'])} ({_estimate(row)})" for row in rows.to_dict("records"))
