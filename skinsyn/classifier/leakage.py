"""The leakage audit: real images that the generators behind an arm saw although the arm claims they did not."""

from collections.abc import Iterable, Mapping

import pandas as pd

from .arms import Cell

__all__ = ["LeakageError", "audit"]

UNSEEN_PARENT = ("text-to-image", "gan")  # methods that take no pixel of the parent


class LeakageError(ValueError):
    """A generator saw real images that an arm which uses it claims it did not."""


def audit(
    uses: Iterable[tuple[Cell, Iterable[str]]],
    synthetic: pd.DataFrame,
    exposure: pd.DataFrame,
    images: pd.DataFrame,
    subsets: Mapping[int, pd.DataFrame],
) -> pd.DataFrame:
    """What the generators behind each arm saw against what it claims: arm, claim, runs, generators, seen, own.

    uses: (cell, ids of the images it trains on). A cell's `generator_data` claims: `any`, no test image; `all`, none
    but training and validation images; `train`, none but training images; `matched`, none but the real images that the
    cell itself may train on. Pixels of a parent count as seen. synthetic (with `saw`), exposure: tables of 03; images,
    subsets (by run): of 01. seen: the most that one cell's generators saw; own: the fewest that a cell of the arm may
    train on. Raises LeakageError naming the arms whose claim does not hold, and an image of each; ValueError where
    `exposure` does not belong to `synthetic`.
    """
    split = images.set_index("image_id")["split"]
    able = {
        "any": frozenset(split.index[split != "test"]), "train": frozenset(split.index[split == "train"]),
        "all": frozenset(split.index[split.isin(["train", "validation"])]),
    }  # fmt: skip
    real, by_id = frozenset(split.index), synthetic.set_index("image_id")
    saw = {name: frozenset(part) for name, part in exposure.groupby("saw")["image_id"]} | {"": frozenset()}
    if unknown := set(synthetic["saw"]) - set(saw):
        raise ValueError(f"the table 'exposure' does not say what {min(unknown)!r} saw; run 03_generation again")
    rows: list[dict] = []
    broken: dict[str, str] = {}
    for cell, ids in uses:
        used = by_id.loc[by_id.index.intersection(pd.Index(ids))]
        ranked = subsets[cell.run]
        own = frozenset(ranked.loc[ranked["rank"] < cell.sources, "image_id"])
        seen = frozenset().union(*(saw[name] for name in used["saw"].unique()))
        seen |= frozenset(used.loc[~used["method"].isin(UNSEEN_PARENT), "parent"])
        outside = sorted((seen & real) - (own if cell.generator_data == "matched" else able[cell.generator_data]))
        if outside:
            broken.setdefault(cell.arm, f"  {cell.arm}, run {cell.run}: {len(outside)} images, first {outside[0]!r}")
        about = {"arm": cell.arm, "claim": cell.generator_data, "run": cell.run, "own": len(own)}
        rows.append({**about, "generators": used["saw"].nunique(), "seen": len(seen)})
    if broken:
        raise LeakageError(
            "generators saw real images that their arms claim they did not (generator_data in arms of 04):\n"
            + "\n".join(list(broken.values())[:8])
        )
    table = pd.DataFrame(rows, columns=["arm", "claim", "run", "own", "generators", "seen"])
    most = {
        "runs": ("run", "nunique"),
        "generators": ("generators", "max"),
        "seen": ("seen", "max"),
        "own": ("own", "min"),
    }
    return table.groupby(["arm", "claim"], sort=False, as_index=False).agg(**most)
