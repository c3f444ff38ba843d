"""Two runs side by side: what differs in their parameters, their tables and their ledger.

A difference between two runs is not tested: they share patients, and often real images and seeds.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..run import paths, pipeline, tables
from . import plots
from .inference import Inference
from .ledger import estimate_text
from .numbers import NOT_RUN
from .style import PALETTE, canvas, styled, zero

__all__ = ["compare", "estimates", "gains", "in_words", "parameters", "rows_of", "save"]

ESTIMATE = ["estimate", "low", "high"]
VERDICTS = {"tests": ["verdict"], "ledger": ["direction", "magnitude", "no_worthwhile_gain"]}
# Tables that readers see: what names a row of each.
KEYS = {
    "flow": ["stage"],
    "counts": ["condition", "fst_group", "source", "split"],
    "quality": ["fact"],
    "generators": ["task", "generator", "condition"],
    "distances": ["method", "generator", "scope"],
    "recognition": ["method", "generator", "scope"],
    "learning_curves": ["arm"],
    "grid_by_group": ["task", "arm", "n", "group"],
    "tests": ["family", "id"],
    "gain_by_n": ["n", "which"],
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
    """Parameters in which two runs differ, from their stamps: notebook, parameter, and one column per run (JSON)."""
    stamped = [pipeline.stamps(run) for run in runs]
    rows = []
    for notebook in sorted({*stamped[0], *stamped[1]}):
        own = [stamps.get(notebook, {}).get("parameters", {}) for stamps in stamped]
        for name in sorted({*own[0], *own[1]} - {"profile"}):
            values = [json.dumps(one[name], ensure_ascii=False) if name in one else NOT_RUN for one in own]
            if values[0] != values[1]:
                rows.append([notebook, name, *values])
    return pd.DataFrame(rows, columns=["notebook", "parameter", *runs], dtype="str")


def _makers(run: str) -> dict[str, str]:
    """Table of a run → the notebook that made it."""
    folder = paths.run_dir(run) / "tables"
    written = {paths.located(path): stem for stem, stamp in pipeline.stamps(run).items() for path in stamp["writes"]}
    return {path.stem: stem for path, stem in written.items() if path.parent == folder.resolve()}


def _both(runs: Sequence[str], name: str) -> pd.DataFrame:
    """A table of both runs joined on its keys, other columns ending in @0 and @1; rows in the order of the first table,
    those that only the second has at the end."""
    keys = [*KEYS[name], "repeat"]  # a table may name two rows alike: they are joined in their order
    ends = []
    for i, run in enumerate(runs):
        frame = tables.read(run, name, _makers(run)[name])
        frame = frame.assign(repeat=frame.groupby(KEYS[name], dropna=False).cumcount())
        ends.append(frame.rename(columns={column: f"{column}@{i}" for column in frame if column not in keys}))
    order = pd.concat([end[keys] for end in ends]).drop_duplicates()
    return order.merge(ends[0], on=keys, how="left").merge(ends[1], on=keys, how="left", validate="1:1")


def estimates(runs: Sequence[str], name: str) -> pd.DataFrame:
    """The ledger or the tests of both runs: what names a row, then estimate, low, high and verdicts of each run,
    difference (second minus first), verdict changed (any of them)."""
    joined = _both(runs, name)
    wide = joined[KEYS[name]].copy()
    for column in ESTIMATE + VERDICTS[name]:
        for i, run in enumerate(runs):
            wide[f"{column} {run}"] = joined[f"{column}@{i}"]
    wide["difference"] = joined["estimate@1"] - joined["estimate@0"]
    verdicts = [[f"{verdict} {run}" for verdict in VERDICTS[name]] for run in runs]
    for columns in verdicts:
        wide[columns] = wide[columns].fillna(NOT_RUN)
    wide["verdict changed"] = (wide[verdicts[0]].to_numpy() != wide[verdicts[1]].to_numpy()).any(axis=1)
    return wide


def rows_of(runs: Sequence[str], name: str) -> pd.DataFrame:
    """Every number of a table that differs: table, row, column, one column per run, difference (NaN: no such row)."""
    joined, differing = _both(runs, name), []
    labels = joined[KEYS[name]].astype(str).agg(" / ".join, axis=1)
    for column in [c[:-2] for c in joined if c.endswith("@0") and f"{c[:-2]}@1" in joined]:
        values = joined[[f"{column}@0", f"{column}@1"]]
        if not all(pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_bool_dtype(t) for t in values.dtypes):
            continue
        one, other = values.to_numpy(float).T
        for i in np.flatnonzero((one != other) & ~(np.isnan(one) & np.isnan(other))):
            differing.append([name, labels.iloc[i], column, one[i], other[i], other[i] - one[i]])
    return pd.DataFrame(differing, columns=["table", "row", "column", *runs, "difference"])


def compare(runs: Sequence[str]) -> dict[str, pd.DataFrame]:
    """parameters, ledger, tests, values (numbers of readers' tables that differ) and tables (which differ at all).

    Raises FileNotFoundError for a run that was not made, ValueError where both names are one.
    """
    if runs[0] == runs[1]:
        raise ValueError(f"compare: {runs[0]!r} with itself; give two runs, e.g. demo demo-guidance7")
    makers = [_makers(run) for run in runs]
    rows = []
    for name, made_by in sorted((makers[1] | makers[0]).items()):
        present = [run for run, made in zip(runs, makers, strict=True) if name in made]
        state = f"only in {present[0]}"
        if len(present) == 2:
            same = len({tables.path(run, name).read_bytes() for run in runs}) == 1
            state = "same" if same else "differs"
        rows.append([name, made_by, state])
    listed = pd.DataFrame(rows, columns=["table", "made_by", "state"], dtype="str")
    compared = {"parameters": parameters(runs), "tables": listed}
    shared = listed.loc[~listed["state"].str.startswith("only"), "table"]
    compared |= {name: estimates(runs, name) for name in ("ledger", "tests") if name in set(shared)}
    differing = listed.loc[listed["state"] == "differs", "table"]
    values = [rows_of(runs, name) for name in differing if name in KEYS and name != "ledger"]
    return compared | ({"values": pd.concat(values, ignore_index=True)} if values else {})


@styled
def gains(frame: pd.DataFrame, runs: Sequence[str], title: str = "Gains of two runs, in percentage points") -> Figure:
    """Two marks per hypothesis, one per run, with their intervals. frame: of the tests; what neither run estimated is
    left out."""
    estimated = frame[[f"estimate {run}" for run in runs]].notna().any(axis=1) & ~frame["id"].str.startswith("cell")
    rows = frame[estimated].reset_index(drop=True)
    figure, (ax,) = canvas(1.0 + 0.27 * max(len(rows), 1), title, SENTENCE)
    for i, run in enumerate(runs):
        y = rows.index + 0.3 * (i - 0.5)
        ax.hlines(y, rows[f"low {run}"], rows[f"high {run}"], color=PALETTE[i], linewidth=1.5)
        ax.plot(rows[f"estimate {run}"], y, "os"[i], color=PALETTE[i], label=run, zorder=3)
    zero(ax.axvline)
    ax.set_yticks(rows.index, rows["family"].str.split().str[0] + ": " + rows["id"], fontsize=7.5)
    ax.set(ylim=(len(rows) - 0.4, -0.6), xlabel=f"percentage points, {_levels(runs)}")
    ax.grid(axis="y", visible=False)
    ends = rows[[f"{part} {run}" for part in ("estimate", "low", "high") for run in runs]].to_numpy()
    # No gain is above 100 points, whatever its interval says.
    reach = 1.05 * min(100.0, np.nanmax(np.abs(ends), initial=1.0))
    ax.set_xlim(-reach, reach)
    figure.legend(loc="outside right upper")
    return figure


def _levels(runs: Sequence[str]) -> str:
    """'95 % intervals', or of which run at which level."""
    levels = [Inference.of_run(run).percent for run in runs]
    if len(set(levels)) == 1:
        return f"{levels[0]} intervals"
    return "intervals at " + " and ".join(f"{level} ({run})" for level, run in zip(levels, runs, strict=True))


def save(runs: Sequence[str], compared: dict[str, pd.DataFrame]) -> str:
    """Save the tables and the figure of a comparison under the name of both runs, <first>_vs_<second>; returns that
    name."""
    name = "_vs_".join(runs)
    for what, frame in compared.items():
        tables.save(name, what, frame, made_by="compare", csv=True)
    if "tests" in compared:
        plots.save(name, gains(compared["tests"], runs), "compare-gains")
    return name


def in_words(runs: Sequence[str], compared: dict[str, pd.DataFrame]) -> str:
    """The comparison as text for a terminal."""
    width = max(map(len, runs)) + 2
    lines = ["Parameters that differ:" if len(compared["parameters"]) else "No parameter differs."]
    lines += [
        f"  {n.partition('_')[0]} {p}: {a} → {b}" for n, p, a, b in compared["parameters"].itertuples(index=False)
    ]
    if "ledger" in compared:
        lines += ["", "Ledger:"]
        for row in compared["ledger"].to_dict("records"):
            lines.append(f"  {row['claim']}")
            for run in runs:
                own = {"claim": row["claim"]} | {part: row[f"{part} {run}"] for part in ESTIMATE}
                direction, size, none_left = (row[f"{verdict} {run}"] for verdict in VERDICTS["ledger"])
                lines.append(
                    f"    {run:{width}}{estimate_text(own):32}{direction}; size {size}; no worthwhile gain {none_left}"
                )
    counted = compared["tables"]["state"].value_counts()
    lines += ["", "Tables by state: " + ", ".join(f"{state} {n}" for state, n in counted.items())]
    if "values" in compared:
        sums = compared["values"].groupby("table", sort=False).size()
        lines += ["Numbers that differ: " + ", ".join(f"{n} in {table}" for table, n in sums.items())]
    return "\n".join([*lines, SENTENCE])
