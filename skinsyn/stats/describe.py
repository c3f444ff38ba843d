"""Who was studied: Table 1, and what was left out."""

from collections.abc import Sequence

import pandas as pd

VARIABLES = ("condition", "malignant", "fst", "fst_group", "source")


def table_one(images: pd.DataFrame, by: str = "split", variables: Sequence[str] = VARIABLES) -> pd.DataFrame:
    """Table 1: variable, level, count, share (of its column), one row for each level and column of `by`.

    images: one row an image. The first rows count images, clusters and patients, where a column of that name exists and
    is filled. Raises ValueError where `by` is not a column, a value is missing, or there is no image.
    """
    if by not in images.columns or images.empty:
        raise ValueError(
            f"Table 1 needs images and the column {by!r}; there are {len(images)} rows, {list(images.columns)}"
        )
    rows = []
    for name, part in [("all", images), *images.groupby(by, sort=False, observed=True)]:
        counts = {"images": len(part)}
        for unit, plural in (("cluster_id", "clusters"), ("patient_id", "patients")):
            if unit in part and (part[unit].astype(str) != "").all():
                counts[plural] = part[unit].nunique()
        rows += [{by: name, "variable": "number of", "level": what, "count": n} for what, n in counts.items()]
        for variable in [v for v in variables if v in part.columns and v != by]:
            gaps = part[variable].isna()
            if gaps.any():
                raise ValueError(
                    f"column {variable!r} is empty in {int(gaps.sum())} rows; write 'unknown' where it is unknown"
                )
            levels = part[variable].replace({-1: "unknown"}) if variable == "fst" else part[variable]
            for level, n in levels.astype(str).value_counts().sort_index().items():
                rows.append({by: name, "variable": variable, "level": level, "count": n, "share": n / len(part)})
    return pd.DataFrame(rows).reindex(columns=[by, "variable", "level", "count", "share"])


def wide(table: pd.DataFrame, by: str = "split") -> pd.DataFrame:
    """Table 1 as people read it: variable, level, and 'count (share)' in one column for each value of `by`."""
    said = table.assign(
        text=[
            f"{n:,}" + ("" if pd.isna(s) else f" ({100 * s:.0f} %)")
            for n, s in zip(table["count"], table["share"], strict=True)
        ]
    )
    order = {name: number for number, name in enumerate(dict.fromkeys(said[by]))}
    found = said.pivot(index=["variable", "level"], columns=by, values="text").fillna("0")
    keep = list(dict.fromkeys(zip(table["variable"], table["level"], strict=True)))
    return found.loc[keep, sorted(found.columns, key=order.get)].reset_index()


def exclusions(attrition: pd.DataFrame) -> pd.DataFrame:
    """How many were left out at each stage and why: stage, reason, left_out, in the order of the stages."""
    found = attrition.groupby(["stage", "reason"], sort=False, observed=True).size()
    return (
        found.rename("left_out").reset_index()
        if len(attrition)
        else pd.DataFrame(columns=["stage", "reason", "left_out"])
    )
