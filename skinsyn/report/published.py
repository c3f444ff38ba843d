"""The published results as rows of one table, which the ledger's rules can judge like those of a run.

`assets/paper/published.csv` has one row per published comparison: its claim, data set, estimate and standard error (in
points), test images and runs, and source. What the study does not give and was worked out from what it does is named in
`reconstructed`. A result that was stated as an order only has neither; its words stand in `stated`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ..stats.contrasts import with_corrections

__all__ = ["Size", "counts", "rows", "size", "stated", "tests"]

FILE = Path(__file__).parents[1] / "assets" / "paper" / "published.csv"


class Size(NamedTuple):
    """The published size of a gain in points: a range, and whether it is the largest of several ("up to")."""

    low: float
    high: float
    maximum: bool


def rows() -> pd.DataFrame:
    """The file as a table; missing words are ''.

    >>> rows()["claim"].unique().tolist()
    ['C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7']
    """
    table = pd.read_csv(FILE)
    words = ["data", "family", "id", "stated", "reconstructed", "source"]
    table[words] = table[words].fillna("")
    return table


def size(claim: str) -> Size | None:
    """The published size of a claim about accuracy, None where none was published.

    >>> size("C3"), size("C4")
    (Size(low=6.9, high=11.9, maximum=False), None)
    """
    table = rows()
    own = table[(table["claim"] == claim) & table["estimate"].notna() & (table["kind"] != "count")]
    if own.empty:
        return None
    return Size(float(own["estimate"].min()), float(own["estimate"].max()), bool(own["maximum"].any()))


def counts() -> dict[str, int]:
    """Synthetic images of each data set of the study.

    >>> counts()
    {'fitzpatrick17k': 445000, 'ddi': 13920}
    """
    table = rows()
    own = table[table["kind"] == "count"]
    return dict(zip(own["data"], own["estimate"].astype(int), strict=True))


def stated() -> set[str]:
    """Claims of which no hypothesis was published, but an order was stated.

    >>> stated()
    {'C6'}
    """
    table = rows()
    return set(table.loc[(table["stated"] != "") & (table["family"] == ""), "claim"])


def tests(level: float = 0.95, margin: float = 0.03) -> pd.DataFrame:
    """The published comparisons as a table of tests (see `stats.contrasts.test_families`): normal limit, Holm.

    margin: of non-superiority, a proportion. A comparison that was only stated has its stated verdict and no p.

    >>> tests().set_index("id").loc["malignancy, most", "p_adjusted"].round(3)
    np.float64(0.029)
    """
    table = rows()
    table = table[table["family"] != ""].assign(df=np.inf, margin=np.nan, alternative="two-sided", flags="")
    one_sided = table["kind"] == "non-superiority"
    table.loc[one_sided, ["alternative", "margin"]] = ["less", 100 * margin]
    table["task"] = np.where(table["claim"] == "C3", "malignancy", "condition")
    table["n"] = np.where(table["id"] == "primary", "32", "")
    table["statistic"] = table["estimate"] / table["se"]
    table["p"] = 2 * stats.norm.sf(table["statistic"].abs())
    half = stats.norm.ppf(0.5 + level / 2) * table["se"]
    table = table.assign(low=table["estimate"] - half, high=table["estimate"] + half, verdict=table["stated"])
    families = [with_corrections(part, "holm", level) for _, part in table.groupby("family", sort=False)]
    return pd.concat(families, ignore_index=True)
