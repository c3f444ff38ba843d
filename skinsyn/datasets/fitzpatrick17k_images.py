"""The images of Fitzpatrick 17k, fetched from its url column, and what was lost on the way, and for whom."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from . import download, fitzpatrick17k, table

__all__ = ["attrition", "fetch"]


def fetch(
    folder: Path, limits: download.Limits, conditions: Sequence[str] = (), first: int | None = None, again: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fetch into folder/images; write and return `attrition` as download_attrition.csv and download_lost.csv.

    folder: holds fitzpatrick17k.csv. conditions: whose rows; none: the study's nine; ["all"]: every one. first: only so
    many rows. again: ask dead addresses also. Rows that a dermatologist marked wrongly labelled are not used and not
    fetched. Raises FileNotFoundError where the table is missing, ValueError for an unknown condition.
    """
    if not (folder / "fitzpatrick17k.csv").is_file():
        raise FileNotFoundError(f"no fitzpatrick17k.csv in {folder}\n{fitzpatrick17k.HOW_TO}")
    rows = fitzpatrick17k.rows(folder)
    known = sorted(rows["condition"].unique())
    wanted = known if list(conditions) == ["all"] else list(conditions) or list(fitzpatrick17k.PUBLISHED_TRAINING)
    table.check_conditions(wanted, known, "--conditions")
    rows = rows[rows["condition"].isin(wanted) & (rows["label_flag"] != fitzpatrick17k.WRONG)].head(first)
    print(
        f"{len(rows)} rows; images go to {folder / 'images'}; one request per host every {limits.pause:g} s", flush=True
    )
    record = download.fetch(rows, folder, limits, again)
    counts, lost = attrition(rows, record)
    for name, frame in {"attrition": counts, "lost": lost}.items():
        frame.to_csv(folder / f"download_{name}.csv", index=False, lineterminator="\n")
    same = sum(record.get(i, {}).get("md5") == i for i in rows["image_id"])
    print(f"{same} of {int(counts['fetched'].sum())} images have the very bytes of the table's md5hash")
    return counts, lost


def attrition(rows: pd.DataFrame, record: dict[str, dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What was lost, by group: (counts by condition × fst; the rows without an image, with url, outcome and reason).

    rows: image_id, condition, fst (-1 unknown), url. Counts: condition, fst, rows, then a column of each outcome.

    >>> rows = pd.DataFrame({"image_id": ["a", "b"], "condition": "lupus", "fst": 6, "url": ["https://x.org/a", ""]})
    >>> counts, lost = attrition(rows, {"a": {"outcome": "fetched"}})
    >>> counts[["rows", "fetched", "no url"]].to_numpy().tolist(), lost["image_id"].tolist()
    ([[2, 1, 1]], ['b'])
    """
    lines = [record.get(image_id, {}) for image_id in rows["image_id"]]
    outcome = [
        line.get("outcome", "waiting" if url else "no url") for line, url in zip(lines, rows["url"], strict=True)
    ]
    outcomes = rows.assign(outcome=outcome, reason=[line.get("reason", "") for line in lines])
    counts = outcomes.groupby(["condition", "fst"])["outcome"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(columns=list(download.OUTCOMES), fill_value=0).reset_index().rename_axis(columns=None)
    counts.insert(2, "rows", counts[list(download.OUTCOMES)].sum(axis=1))
    lost = outcomes[outcomes["outcome"] != "fetched"].sort_values(["condition", "fst", "image_id"])
    return counts, lost[["image_id", "condition", "fst", "url", "outcome", "reason"]].reset_index(drop=True)
