"""The image source held fixed: whether skin-type groups come from the same sources, and gains by group within them.

Where atlases differ in skin type and in difficulty (or in a mark that a classifier can read), a difference between
skin types may be one between sources.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from . import estimands, skin_types
from .clusters import NOT_ESTIMABLE
from .predictions import Block
from .skin_types import UNKNOWN

APART = 0.1  # a difference between groups in a source's share that is flagged
STANDARDISED = "standardised"
CRUDE = "crude"


def sources(images: pd.DataFrame) -> pd.Series:
    """The source of each image: the site it was published on where that is known, else its data set.

    >>> sources(pd.DataFrame({"site": ["a.org", ""], "source": ["atlas", "atlas"]})).tolist()
    ['a.org', 'atlas, no site']
    """
    dataset = images["source"].astype(str) if "source" in images else pd.Series("one source", index=images.index)
    if "site" not in images:
        return dataset
    site = images["site"].fillna("").astype(str)
    return site.where(site != "", dataset if (site == "").all() else dataset + ", no site")


def shares(images: pd.DataFrame) -> pd.DataFrame:
    """Share of each source within each skin-type group: source, group, images, of, share, difference, flags.

    images: fst_group, and site or source. difference: largest minus smallest share of the source over known groups,
    flagged above APART.

    >>> images = pd.DataFrame({"fst_group": ["I-II", "I-II", "V-VI"], "source": ["a", "b", "b"]})
    >>> shares(images)[["source", "group", "share"]].values.tolist()
    [['a', 'I-II', 0.5], ['a', 'V-VI', 0.0], ['b', 'I-II', 0.5], ['b', 'V-VI', 1.0]]
    """
    found = pd.crosstab(sources(images), images["fst_group"])
    groups = skin_types.known_groups(images["fst_group"])
    totals, rows = found.sum(), []
    for source, line in found.iterrows():
        by_group = line[groups] / totals[groups]
        difference = float(np.ptp(by_group)) if groups else np.nan
        flag = f"the share differs by {difference:.2f} between groups" if difference > APART else ""
        for group in [*groups, *(UNKNOWN,) * (UNKNOWN in found)]:
            row = {"source": source, "group": group, "images": int(line[group]), "of": int(totals[group])}
            rows.append(row | {"share": line[group] / totals[group], "difference": difference, "flags": flag})
    return pd.DataFrame(rows)


def gains(
    prepared: Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    tasks: Sequence[str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Hillis 2007 with direct standardisation: gains by skin type and their differences [points].

    The mix of sources is that of all images of known type over the sources with two clusters in every group; flags name
    the others. Columns: task, group, source ("crude", "standardised", or one source), estimate, low, high, se, df, p
    (not corrected for their number), images, clusters, runs, flags. One source: one row says so.
    """
    rows: list[dict] = []
    for task in estimands.tasks_of(prepared) if tasks is None else tasks:
        try:
            images, values = skin_types.answers(prepared, treatment, control, task)
        except estimands.NotRun as missing:
            rows.append({"task": task, "group": "", "source": "", "flags": f"not run: {missing}"})
            continue
        rows += _rows(values["gain"], images, task, level)
    order = "task group source estimate low high se df p images clusters runs flags"
    return pd.DataFrame(rows).reindex(columns=order.split())


def _rows(values: np.ndarray, images: pd.DataFrame, task: str, level: float) -> list[dict]:
    known = images[images["fst_group"] != UNKNOWN]
    source, groups = sources(known), skin_types.known_groups(known["fst_group"])
    row = {"task": task, "group": "all", "source": ", ".join(sorted(source.unique())), "images": len(known)}
    row |= {"clusters": known["cluster_id"].nunique(), "runs": len(values)}
    if not groups:
        return [row | {"flags": f"{NOT_ESTIMABLE}: skin type is unknown for all images"}]
    if source.nunique() == 1:
        return [row | {"flags": "one source only: there is nothing to hold fixed"}]
    cells = known.groupby([source.rename("in"), "fst_group"])["cluster_id"].nunique().unstack(fill_value=0)
    common = [name for name in cells.index if (cells.loc[name, groups] >= 2).all()]
    absent = [str(name) for name in cells.index if name not in common]
    mix = source[source.isin(common)].value_counts(normalize=True)
    flag = f"without {', '.join(absent)}: fewer than two clusters in a group" if absent else ""
    found = []
    for name, weights in skin_types.contrasts_of(groups).items():
        part = {"task": task, "group": name}
        found.append(part | _estimate(values, known, None, {None: 1.0}, weights, level) | {"source": CRUDE})
        if not common:
            reason = f"{NOT_ESTIMABLE}: no source has two clusters in every group"
            found.append(
                part | {"source": STANDARDISED, "images": 0, "clusters": 0, "runs": len(values), "flags": reason}
            )
        else:
            one = _estimate(values, known, source, mix.to_dict(), weights, level)
            one["flags"] = "; ".join(text for text in (one["flags"], flag) if text)
            found.append(part | one | {"source": STANDARDISED})
        for own in cells.index:
            if all(cells.loc[own, group] >= 1 for group in weights):
                found.append(part | _estimate(values, known, source, {own: 1.0}, weights, level) | {"source": own})
    return found


def _estimate(
    values: np.ndarray,
    images: pd.DataFrame,
    source: pd.Series | None,
    mix: Mapping,
    weights: Mapping[str, float],
    level: float,
) -> dict:
    """One contrast of groups at one mix of sources (None: whatever the source), as the fields of a row."""
    members, shares_of = {}, {}
    for own, share in mix.items():
        here = images if source is None else images[source == own]
        for group, weight in weights.items():
            members[f"{own}, {group}"] = here.index[here["fst_group"] == group].to_numpy()
            shares_of[f"{own}, {group}"] = share * weight
    ids = np.full(values.shape[1], "", dtype=object)
    ids[images.index] = images["cluster_id"].astype(str)
    gain = skin_types.mean_of(values, members, ids, shares_of, level)
    used = np.unique(np.concatenate(list(members.values())))
    row: dict = {key: 100 * getattr(gain, key) for key in ("estimate", "low", "high", "se")}
    row |= {"df": gain.df, "p": gain.p, "images": len(used), "clusters": len(set(ids[used])), "runs": gain.runs}
    return row | {"flags": "; ".join(gain.flags)}
