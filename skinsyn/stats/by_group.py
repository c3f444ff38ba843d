"""Tables by skin type: gains of one arm over another, and the accuracy of each with the gap between groups."""

from collections.abc import Mapping, Sequence

import pandas as pd

from . import contrasts, fairness
from .predictions import Block, blocks

GROUPS = ("I-II", "III-IV", "V-VI", "unknown")


def gains_by_group(
    predictions: pd.DataFrame | Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    tasks: Sequence[str] = ("condition", "malignancy"),
    average: str = "micro",
    level: float = 0.95,
) -> pd.DataFrame:
    """Gain by skin-type group, and for all images, in each task: a description, without correction.

    treatment, control: settings; their task is replaced by each of `tasks`. Columns: task, group, then those of
    `test_families` from estimate [points] to flags that are not about correction.
    """
    prepared, rows = blocks(predictions) if isinstance(predictions, pd.DataFrame) else predictions, []
    for task in tasks:
        known = prepared[task].images["fst_group"] if task in prepared else pd.Series(["unknown"])
        for group in ["all", *(g for g in GROUPS if g != "unknown" or (known == g).any())]:
            family = {
                "treatment": {**treatment, "task": task},
                "control": {**control, "task": task},
                "average": average,
            }
            family |= {"correction": "bonferroni", "where": {} if group == "all" else {"fst_group": group}}
            row = contrasts.test_families(prepared, {task: family | {"hypotheses": [{"id": group}]}}, level=level)
            rows.append(row.rename(columns={"family": "task", "id": "group"}))
    kept = "task group average estimate low high se df p images clusters runs verdict flags"
    return pd.concat(rows, ignore_index=True)[kept.split()]


def accuracy_by_group(
    predictions: pd.DataFrame | Mapping[str, Block],
    arms: Mapping[str, Mapping],
    tasks: Sequence[str] = ("condition", "malignancy"),
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy of named arms by skin-type group, with `fairness.by_group`'s interval and the gap beside its null.

    Columns: arm, task, those of `fairness.by_group`, gap, null_mean, null_high, gap_p (known groups only; proportions).
    An arm that was not run is one row with the flag "not run".
    """
    prepared, tables = blocks(predictions) if isinstance(predictions, pd.DataFrame) else predictions, []
    for task in tasks:
        for name, arm in arms.items():
            try:
                correct, images = contrasts.answers(prepared, {**arm, "task": task})
            except KeyError:
                tables.append(pd.DataFrame([{"arm": name, "task": task, "group": "", "images": 0, "flags": "not run"}]))
                continue
            table = fairness.by_group(correct, images["fst_group"], images["cluster_id"], None, draws, seed, level)
            table = table.assign(arm=name, task=task)
            known = (images["fst_group"] != "unknown").to_numpy()
            if images.loc[known, "fst_group"].nunique() > 1:
                part = images[known]
                null = fairness.gap_null(correct[:, known], part["fst_group"], part["condition"], draws, seed)
                table = table.assign(**{"gap_p" if key == "p" else key: value for key, value in null.items()})
            tables.append(table)
    order = "arm task group accuracy low high images clusters runs worst gap null_mean null_high gap_p flags"
    return pd.concat(tables, ignore_index=True).reindex(columns=order.split())
