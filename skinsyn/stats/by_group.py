"""Tables by skin type: gains of one arm over another, and the accuracy of each with the gap between groups."""

from collections.abc import Mapping, Sequence

import pandas as pd

from . import auroc, contrasts, detection, estimands, fairness
from .hypotheses import Family, Hypotheses, Hypothesis
from .predictions import Block, groups_of


def gains_by_group(
    predictions: pd.DataFrame | Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    tasks: Sequence[str] | None = None,
    average: str = "micro",
    level: float = 0.95,
) -> pd.DataFrame:
    """Gain by skin-type group, and for all images, in each task: a description, uncorrected, hence without verdicts.

    treatment, control: settings; their task is replaced by each of `tasks` (None: `estimands.tasks_of`). The groups are
    those of the images, in the order of `predictions.groups_of`. Columns: task, group, then those of `test_families`
    from estimate [points] to flags that are not about correction. flags begin with "not run" or "not estimable" where
    there is no p.
    """
    prepared, rows = estimands.as_blocks(predictions), []
    for task in estimands.tasks_of(prepared) if tasks is None else tasks:
        known = prepared[task].images["fst_group"] if task in prepared else pd.Series(["unknown"])
        groups = ["all", *groups_of(known), *["unknown"] * bool((known == "unknown").any())]
        wheres = {name: {} if name == "all" else {"fst_group": name} for name in groups}
        whole = Hypothesis(id="all", estimand="treatment - control", average=average)
        declared = Hypotheses(
            arms={"treatment": {**treatment, "task": task}, "control": {**control, "task": task}},
            families={name: Family(correction="bonferroni") for name in groups},  # each alone: without correction
            hypotheses=tuple(whole.but(id=name, family=name, where=where) for name, where in wheres.items()),
        )
        tested = contrasts.test_families(prepared, declared, level)
        not_run = tested["verdict"].eq("not run")
        tested["flags"] = tested["flags"].mask(not_run, "not run: " + tested["flags"])
        rows.append(tested.assign(task=task).rename(columns={"id": "group"}))
    columns = "task group average estimate low high se df p images clusters runs flags"
    return pd.concat(rows, ignore_index=True)[columns.split()]


def auroc_gains(
    predictions: pd.DataFrame | Mapping[str, Block], treatment: Mapping, control: Mapping, level: float = 0.95
) -> pd.DataFrame:
    """Gain in AUROC of the positive class, in all images and by skin type, runs and clusters random.

    Columns: group, with_synthetic, without (proportions), estimate, low, high (points), se, df, p, images, clusters,
    malignant, runs, flags. See `auroc.gain`; a cluster counts once within its class, as in `metrics`. Not estimable: a
    class with fewer than two clusters, one distinct run, an arm that was not run.
    """
    prepared = estimands.as_blocks(predictions)
    empty = dict.fromkeys("with_synthetic without estimate low high se df p".split(), float("nan"))
    try:
        found = detection.of_arms(prepared, (treatment, control))
    except estimands.NotRun as missing:
        return pd.DataFrame([{"group": "all", **empty, "flags": f"not run: {missing}"}])
    block, rows = found.block, []
    at = [estimands.arm_of(block, {**arm, "task": block.task}) for arm in (treatment, control)]
    kept = estimands.distinct_runs([(block, at)])
    copies = [f"{len(kept)} distinct of {len(block.runs)} runs: copies are left out"] * (len(kept) < len(block.runs))
    scores = found.scores[:, kept].astype(float)
    for group in ["all", *(g for g in (*block.groups, "unknown") if (block.images["fst_group"] == g).any())]:
        images = block.images if group == "all" else block.images[block.images["fst_group"] == group]
        truth = found.truth[images.index]
        clusters, row = images["cluster_id"], {"group": group, **empty, "images": len(images)}
        row |= {"clusters": clusters.nunique(), "malignant": int(truth.sum()), "runs": len(kept)}
        if min(clusters[truth == label].nunique() for label in (0, 1)) < 2:
            rows.append(row | {"flags": "not estimable: fewer than two clusters of a class"})
            continue
        some = scores[:, :, images.index]
        areas, gain = auroc.gain(truth, some, clusters, level)
        row |= {key: 100 * getattr(gain, key) for key in ("estimate", "low", "high", "se")}
        row |= {"df": gain.df, "p": gain.p, "with_synthetic": areas[0], "without": areas[1]}
        rows.append(row | {"flags": "; ".join([*gain.flags, *copies])})
    return pd.DataFrame(rows)


def accuracy_by_group(
    predictions: pd.DataFrame | Mapping[str, Block],
    arms: Mapping[str, Mapping],
    tasks: Sequence[str] | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy of named arms by skin-type group, with `fairness.by_group`'s interval and the gap beside its null.

    Columns: arm, task, those of `fairness.by_group`, gap, null_mean, null_high, gap_p (known groups only; proportions).
    An arm that was not run is one row with the flag "not run".
    """
    prepared, tables = estimands.as_blocks(predictions), []
    for task in estimands.tasks_of(prepared) if tasks is None else tasks:
        for name, arm in arms.items():
            try:
                correct, images = contrasts.answers(prepared, {**arm, "task": task})
            except estimands.NotRun:
                tables.append(pd.DataFrame([{"arm": name, "task": task, "group": "", "images": 0, "flags": "not run"}]))
                continue
            table = fairness.by_group(correct, images["fst_group"], images["cluster_id"], None, level)
            table = table.assign(arm=name, task=task)
            known = (images["fst_group"] != "unknown").to_numpy()
            if images.loc[known, "fst_group"].nunique() > 1:
                part = images[known]
                ids = part["fst_group"], part["cluster_id"], part["condition"]
                null = fairness.gap_null(correct[:, known], *ids, draws, seed, level)._asdict()
                table = table.assign(**{"gap_p" if key == "p" else key: value for key, value in null.items()})
            tables.append(table)
    order = "arm task group accuracy low high images clusters runs worst gap null_mean null_high gap_p flags"
    return pd.concat(tables, ignore_index=True).reindex(columns=order.split())
