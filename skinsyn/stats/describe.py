"""Who was studied: Table 1, and what was left out."""

from collections.abc import Sequence

import pandas as pd

VARIABLES = ("condition", "malignant", "fst", "fst_group", "source")


def table_one(images: pd.DataFrame, by: str = "split", variables: Sequence[str] = VARIABLES) -> pd.DataFrame:
    """Table 1: variable, level, count, share (of its column), one row for each level and column of `by`.

    images: one row per image. The first rows count images, clusters and patients, where a column of that name exists
    without gaps. Raises ValueError where `by` is not a column, a value is missing, or there is no image.

    >>> images = pd.DataFrame({"split": ["train", "test"], "condition": ["acne", "acne"]})
    >>> table_one(images).query("split == 'all'")[["variable", "level", "count"]].values.tolist()
    [['number of', 'images', 2], ['condition', 'acne', 2]]
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
    """Table 1 for print: variable, level, and 'count (share)' in one column for each value of `by`.

    >>> wide(table_one(pd.DataFrame({"split": ["train"], "condition": ["acne"]})))["train"].tolist()
    ['1', '1 (100 %)']
    """
    pairs = zip(table["count"], table["share"], strict=True)
    text = [f"{count:,}" + ("" if pd.isna(share) else f" ({100 * share:.0f} %)") for count, share in pairs]
    rows, columns = list(dict.fromkeys(zip(table["variable"], table["level"], strict=True))), list(table[by].unique())
    cells = table.assign(text=text).pivot(index=["variable", "level"], columns=by, values="text").fillna("0")
    return cells.loc[rows, columns].reset_index()


def exclusions(attrition: pd.DataFrame) -> pd.DataFrame:
    """How many were left out at each stage and why: stage, reason, left_out, in the order of the stages.

    >>> exclusions(pd.DataFrame({"stage": ["files", "files"], "reason": ["absent", "absent"]})).values.tolist()
    [['files', 'absent', 2]]
    """
    counts = attrition.groupby(["stage", "reason"], sort=False, observed=True).size()
    return counts.rename("left_out").reset_index()
