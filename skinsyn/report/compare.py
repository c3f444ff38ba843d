"""Two runs side by side: what differs in their parameters, their tables and their ledger.

A difference between two runs is not tested here: they share patients, and often real images and seeds.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..run import paths, pipeline, tables
from . import plots
from .inference import Inference
from .numbers import number, show
from .style import PALETTE, canvas, styled

__all__ = ["compare", "gains", "in_words", "ledger", "parameters", "rows_of", "save", "tests"]

ESTIMATE = ["estimate", "low", "high", "verdict"]
# Tables that readers see: what names a row of each.
KEYS = {
    "flow": ["stage"],
    "counts": ["condition", "fst_group", "source", "split"],
    "quality": ["fact"],
    "generators": ["task", "generator", "condition"],
    "distances": ["method", "generator", "scope"],
    "recognition": ["generator", "method"],
    "learning_curves": ["arm"],
    "grid_by_group": ["task", "arm", "n", "group"],
    "tests": ["family", "id"],
    "gains_by_group": ["task", "group"],
    "accuracy_by_group": ["arm", "task", "group"],
    "dose_response": ["part", "dose"],
    "dose_verdict": ["verdict"],
    "distributions": ["body", "method", "generator", "scope"],
    "memorised_by_model": ["method", "generator", "scope"],
    "lightening": ["method", "generator", "scope", "fst_group"],
    "diversity": ["method", "generator", "scope", "group"],
    "label_fidelity": ["method", "generator", "scope", "condition", "fst_group"],
    "classification_accuracy": ["method", "generator", "scope"],
    "usefulness": ["measure"],
    "optimal_ratio": ["method", "n", "transforms", "condition"],
    "against_gan": ["id"],
    "transfer": ["data", "group"],
    "long_tail_relation": ["over"],
    "worst_group": ["group"],
    "ledger": ["claim"],
}
SENTENCE = "Differences between runs are shown, not tested: the runs share patients, and often real images and seeds."


def parameters(runs: Sequence[str]) -> pd.DataFrame:
    """Parameters in which two runs differ, from their stamps: notebook, parameter, and a column a run (JSON)."""
    stamped = [pipeline.stamps(run) for run in runs]
    rows = []
    for notebook in sorted({*stamped[0], *stamped[1]}):
        given = [stamp.get(notebook, {}).get("parameters", {}) for stamp in stamped]
        for name in sorted({*given[0], *given[1]} - {"profile"}):
            values = [json.dumps(g[name], ensure_ascii=False) if name in g else "not run" for g in given]
            if values[0] != values[1]:
                rows.append([notebook, name, *values])
    return pd.DataFrame(rows, columns=["notebook", "parameter", *runs], dtype="str")


def _makers(run: str) -> dict[str, str]:
    """Table of a run → the notebook that made it."""
    folder = paths.run_dir(run) / "tables"
    written = {paths.located(path): stem for stem, stamp in pipeline.stamps(run).items() for path in stamp["writes"]}
    return {path.stem: stem for path, stem in written.items() if path.parent == folder.resolve()}


def _both(runs: Sequence[str], name: str, keys: Sequence[str]) -> pd.DataFrame | None:
    """A table of both runs joined on its keys, other columns ending in @0 and @1; None where a run lacks it."""
    makers = [_makers(run) for run in runs]
    if not all(name in made for made in makers):
        return None
    keys = [*keys, "repeat"]  # a table may name two rows alike: they are joined in their order
    ends = []
    for i, (run, made) in enumerate(zip(runs, makers, strict=True)):
        frame = tables.read(run, name, made[name])
        frame = frame.assign(repeat=frame.groupby(keys[:-1], dropna=False).cumcount())
        ends.append(frame.rename(columns={column: f"{column}@{i}" for column in frame if column not in keys}))
    return _in_order(ends, keys)


def _in_order(ends: Sequence[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Outer join in the order of the first table, what only the second holds at its end."""
    order = pd.concat([end[keys] for end in ends]).drop_duplicates()
    return order.merge(ends[0], on=keys, how="left").merge(ends[1], on=keys, how="left", validate="1:1")


def _side_by_side(runs: Sequence[str], name: str, keys: Sequence[str]) -> pd.DataFrame | None:
    """Estimates, intervals and verdicts of both runs, and `difference` of the estimates (second minus first)."""
    joined = _both(runs, name, keys)
    if joined is None:
        return None
    wide = joined[list(keys)].copy()
    for column in ESTIMATE:
        for i, run in enumerate(runs):
            wide[f"{column} {run}"] = joined[f"{column}@{i}"]
    wide["difference"] = joined["estimate@1"] - joined["estimate@0"]
    first, second = (wide[f"verdict {run}"].fillna("not run") for run in runs)
    wide[f"verdict {runs[0]}"], wide[f"verdict {runs[1]}"], wide["verdict changed"] = first, second, first != second
    return wide


def ledger(runs: Sequence[str]) -> pd.DataFrame | None:
    """The claims of both runs: claim, then estimate, low, high and verdict of each, difference, verdict changed."""
    return _side_by_side(runs, "ledger", ["claim"])


def tests(runs: Sequence[str]) -> pd.DataFrame | None:
    """The declared hypotheses of both runs, in the same columns after family and id."""
    return _side_by_side(runs, "tests", KEYS["tests"])


def rows_of(runs: Sequence[str], name: str) -> pd.DataFrame:
    """Every number of a table that differs: table, row, column, a column a run, difference (NaN: no such row)."""
    keys = KEYS[name]
    joined, found = _both(runs, name, keys), []
    for column in [c[:-2] for c in joined if c.endswith("@0") and f"{c[:-2]}@1" in joined]:
        values = joined[[f"{column}@0", f"{column}@1"]]
        if not all(pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_bool_dtype(t) for t in values.dtypes):
            continue
        one, other = values.to_numpy(float).T
        for i in np.flatnonzero((one != other) & ~(np.isnan(one) & np.isnan(other))):
            row = " / ".join(str(joined[key].iloc[i]) for key in keys)
            found.append([name, row, column, one[i], other[i], other[i] - one[i]])
    return pd.DataFrame(found, columns=["table", "row", "column", *runs, "difference"])


def compare(runs: Sequence[str]) -> dict[str, pd.DataFrame]:
    """parameters, ledger, tests, values (numbers of readers' tables that differ) and tables (which differ at all).

    Raises FileNotFoundError for a run that was not made, ValueError where both names are one.
    """
    if runs[0] == runs[1]:
        raise ValueError(f"compare: {runs[0]!r} with itself; give two runs, e.g. demo demo-guidance7")
    made = [_makers(run) for run in runs]
    rows = []
    for name in sorted({*made[0], *made[1]}):
        there = [run for run, makers in zip(runs, made, strict=True) if name in makers]
        if len(there) == 2:
            same = len({tables.path(run, name).read_bytes() for run in runs}) == 1
            rows.append([name, made[0][name], "same" if same else "differs"])
        else:
            rows.append([name, (made[0] | made[1])[name], f"only in {there[0]}"])
    listed = pd.DataFrame(rows, columns=["table", "made_by", "state"], dtype="str")
    values = [
        rows_of(runs, name)
        for name in listed.loc[listed["state"] == "differs", "table"]
        if name in KEYS and name != "ledger"
    ]
    found = {"parameters": parameters(runs), "ledger": ledger(runs), "tests": tests(runs), "tables": listed}
    found["values"] = pd.concat(values, ignore_index=True) if values else None
    return {name: frame for name, frame in found.items() if frame is not None}


@styled
def gains(frame: pd.DataFrame, runs: Sequence[str], title: str = "Gains of two runs, in percentage points") -> Figure:
    """Two marks a hypothesis, one a run, with their intervals. frame: of `tests`; what neither run estimated is left
    out."""
    there = frame[[f"estimate {run}" for run in runs]].notna().any(axis=1) & ~frame["id"].str.startswith("cell")
    rows = frame[there].reset_index(drop=True)
    figure, (ax,) = canvas(1.0 + 0.27 * max(len(rows), 1), title, SENTENCE)
    for i, run in enumerate(runs):
        y = rows.index + 0.3 * (i - 0.5)
        ax.hlines(y, rows[f"low {run}"], rows[f"high {run}"], color=PALETTE[i], linewidth=1.5)
        ax.plot(rows[f"estimate {run}"], y, "os"[i], color=PALETTE[i], label=run, zorder=3)
    ax.axvline(0, color="#444444", linewidth=0.9, zorder=1)
    labels = rows["family"].str.split().str[0] + ": " + rows["id"]
    ax.set_yticks(rows.index, labels, fontsize=7.5)
    ax.set(ylim=(len(rows) - 0.4, -0.6), xlabel=f"percentage points, {_levels(runs)}")
    ax.grid(axis="y", visible=False)
    ends = rows[[f"{part} {run}" for part in ("estimate", "low", "high") for run in runs]].to_numpy()
    reach = 1.05 * min(
        100.0, np.nanmax(np.abs(ends), initial=1.0)
    )  # no gain is above 100 points, whatever its interval says
    ax.set_xlim(-reach, reach)
    figure.legend(loc="outside right upper")
    return figure


def _levels(runs: Sequence[str]) -> str:
    """'95 % intervals', or of which run at which level."""
    levels = [Inference.of_run(run).percent for run in runs]
    if len(set(levels)) == 1:
        return f"{levels[0]} intervals"
    return "intervals at " + " and ".join(f"{level} ({run})" for level, run in zip(levels, runs, strict=True))


def save(runs: Sequence[str], found: dict[str, pd.DataFrame]) -> str:
    """Save the tables and the figure of a comparison under the name of both runs, <first>_vs_<second>; returns that
    name."""
    name = "_vs_".join(runs)
    for what, frame in found.items():
        tables.save(name, what, frame, made_by="compare", csv=True)
    if "tests" in found:
        plots.save(name, gains(found["tests"], runs), "compare-gains")
    return name


def in_words(runs: Sequence[str], found: dict[str, pd.DataFrame]) -> str:
    """The comparison as text for a terminal."""
    width = max(map(len, runs)) + 2
    lines = ["Parameters that differ:" if len(found["parameters"]) else "No parameter differs."]
    lines += [f"  {n[:2]} {p}: {a} → {b}" for n, p, a, b in found["parameters"].itertuples(index=False)]
    if "ledger" in found:
        lines += ["", "Ledger:"]
        for row in found["ledger"].to_dict("records"):
            lines.append(f"  {row['claim']}")
            digits = {"C6": 3, "C7": 0}.get(row["claim"][:2], 1)
            for run in runs:
                value, low, high, verdict = (row[f"{part} {run}"] for part in ESTIMATE)
                ends = (None, None) if pd.isna(low) else (low, high)
                text = "" if pd.isna(value) else show(number(value, "", *ends), digits, sign=digits != 0, interval=True)
                lines.append(f"    {run:{width}}{text:32}{verdict}")
    counted = found["tables"]["state"].value_counts()
    lines += ["", "Tables: " + ", ".join(f"{n} {state}" for state, n in counted.items())]
    if "values" in found:
        sums = found["values"].groupby("table", sort=False).size()
        lines += ["Numbers that differ: " + ", ".join(f"{n} in {table}" for table, n in sums.items())]
    return "\n".join([*lines, SENTENCE])
