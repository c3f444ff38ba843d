"""What a claim generalises to: only what was drawn anew in each run.

Runs that share their generators, or most of their real images, are not independent replications: under a generator
effect that ten runs share (standard deviation .2 logit) the nominal 5 % test rejects a true null hypothesis in 31 % of
studies, with training sets that share two thirds of their images in 49 %, if the claim is about new generators or new
training sets (09_benchmarks). Given those generators and images, its size holds. The sentence names what was shared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from skinsyn.run.records import Record, setting

from . import estimands, mean_squares
from .hypotheses import Hypotheses
from .predictions import Block

__all__ = ["Variation", "behind", "beside", "of_arms", "parts_of_variance", "shared"]

ALMOST_NONE = 0.2  # two runs that share no more of their real images count as drawn anew


@dataclass(frozen=True, kw_only=True)
class Variation(Record):
    """What the runs behind a comparison share, the most of any of its arms.

    >>> Variation(known=True, generators=1.0, real=0.5, pool="48").shared
    'generators; 50 % of real images'
    """

    known: bool = setting(False, "is it recorded what varied between runs?")
    generators: float = setting(0.0, "mean share of a run's generators that another run uses, too", low=0, high=1)
    real: float = setting(0.0, "mean share of a run's real images that another run uses, too", low=0, high=1)
    pool: str = setting("", "images per class from which the real images are drawn")

    @property
    def shared(self) -> str:
        """What two runs have in common, beyond the test images; '' where each run was drawn anew."""
        if not self.known:
            return "not recorded"
        parts = [_share(self.generators, "generators")] * (self.generators > 0)
        return "; ".join(parts + [f"{100 * self.real:.0f} % of real images"] * (self.real > ALMOST_NONE))

    @property
    def scope(self) -> str:
        """For what a conclusion holds, as the beginning of a sentence.

        >>> Variation(known=True, generators=1.0, real=0.66, pool="12").scope
        'With these generators, for real images drawn from these 12 per class, new initial weights and new patients'
        """
        if not self.known:
            return "For runs that vary as these do (what they share is not recorded) and new patients"
        if not self.shared:
            return "For new training runs and new patients"
        anew = "new real images" if self.real <= ALMOST_NONE else f"real images drawn from these {self.pool} per class"
        whose = {0.0: "For", 1.0: "With these generators, for"}.get(
            self.generators, "With generators that runs share, for"
        )
        return f"{whose} {anew}, new initial weights and new patients"

    @classmethod
    def most(cls, parts: Iterable[Self]) -> Self:
        """The most that is shared in any of the parts.

        >>> Variation.most([Variation(known=True), Variation(known=True, generators=1.0)]).generators
        1.0
        """
        every = list(parts)
        if not every or not all(part.known for part in every):
            return cls()
        pools = [part.pool for part in every if part.pool]
        generators, real = (max(getattr(part, name) for part in every) for name in ("generators", "real"))
        return cls(known=True, generators=generators, real=real, pool=pools[0] if pools else "")


def of_arms(table: pd.DataFrame | None) -> dict[str, Variation]:
    """Arm → what its runs share, from the table `variation` of 04; {} where there is none.

    >>> row = {"arm": "a", "shared_real": 0.5, "shared_generators": float("nan"), "pool_low": 9, "pool_high": 12}
    >>> of_arms(pd.DataFrame([row]))["a"].shared
    '50 % of real images'
    """
    found = {}
    for row in [] if table is None else table.to_dict("records"):
        low, high = int(row["pool_low"]), int(row["pool_high"])
        pool = "" if not high else f"{low}" if low == high else f"{low} to {high}"
        shares = {name: float(np.nan_to_num(row[f"shared_{name}"])) for name in ("generators", "real")}
        found[str(row["arm"])] = Variation(known=True, **shares, pool=pool)
    return found


def behind(
    prepared: Mapping[str, Block], arms: Iterable[Mapping[str, Any]], table: pd.DataFrame | None
) -> Variation | None:
    """What the runs behind a comparison of arms share; None where one was not run.

    arms: settings, one arm each. table: `variation` of 04, or None where nobody recorded it.

    >>> behind({}, [], None).shared
    'not recorded'
    """
    known, parts = of_arms(table), []
    try:
        for settings in arms:
            block = estimands.block_of(prepared, settings)
            name = str(block.arms["arm"].iloc[estimands.arm_of(block, settings)])
            parts.append(known.get(name, Variation()))
    except estimands.NotRun:
        return None
    return Variation.most(parts)


def shared(prepared: Mapping[str, Block], arms: Iterable[Mapping[str, Any]], table: pd.DataFrame | None) -> str:
    """`behind` as the text that stands beside a p; '' where an arm was not run."""
    varied = behind(prepared, arms, table)
    return varied.shared if varied else ""


def beside(
    tests: pd.DataFrame, declared: Hypotheses, prepared: Mapping[str, Block], table: pd.DataFrame | None
) -> pd.DataFrame:
    """The table of tests with `shared`, what the runs of a hypothesis share, and `scope`, for what it holds.

    table: `variation` of 04, or None where nobody recorded it. A hypothesis that was not run has neither.
    """
    of_hypothesis = {}
    for name in declared.families:
        for one in declared.of_family(name):
            varied = behind(prepared, declared.named(arm for _, arm in one.terms), table)
            for member in estimands.spread(prepared, one, declared.arms):
                of_hypothesis[name, member.id] = varied
    rows = [of_hypothesis[key] for key in zip(tests["family"], tests["id"], strict=True)]
    return tests.assign(
        shared=[one.shared if one else "" for one in rows], scope=[one.scope if one else "" for one in rows]
    )


def parts_of_variance(tables: Sequence[np.ndarray], weights: Sequence[float]) -> pd.DataFrame:
    """Hillis 2007, SE^2 = (S^2 + E)/R of a contrast by its parts: part, variance [squared points], share.

    tables, weights: of `estimands.tables`. One run or one cluster leaves nothing to estimate: NaN.

    >>> parts_of_variance([np.array([[0.0, 1.0], [1.0, 2.0]])], [1.0])["share"].tolist()
    [0.5, 0.5, 1.0]
    """
    names = ["between runs, S^2/R", "between clusters, E/R", "whole, SE^2"]
    runs, least = tables[0].shape[0], min(table.shape[1] for table in tables)
    if runs < 2 or least < 2:
        return pd.DataFrame({"part": names, "variance": np.nan, "share": np.nan})
    parts = mean_squares.squares(tables, weights)
    spread, error = float(parts.spread), float(parts.error)
    values = 1e4 / runs * np.array([spread, error, spread + error])
    return pd.DataFrame({"part": names, "variance": values, "share": values / values[-1] if values[-1] else np.nan})


def _share(value: float, what: str) -> str:
    return what if value == 1 else f"{100 * value:.0f} % of {what}"
