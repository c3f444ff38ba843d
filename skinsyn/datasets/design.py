"""A profile for photographs that nobody has planned for: the design of a known profile, cut to what the images
allow."""

import copy
from collections.abc import Mapping

import pandas as pd

from . import audit, splits

__all__ = ["sizes", "study", "values_of"]

TEST_FRACTION = 0.34  # of the patients, where the profile that is followed has no numbers that fit
SPLIT = ("test_per_condition", "validation_per_condition", "train_per_condition", "test_fraction")


def study(name: str, rows: pd.DataFrame, classes: list[str], extra: list[str], like: Mapping[str, Mapping]) -> dict:
    """The parameters of a study of one's own, by notebook.

    rows: the images of classes and of extra (conditions that count in malignancy only). like: of the profile to follow.
    Raises ValueError where the images are too few.
    """
    numbers, scale = sizes(rows, like)
    every = {stem: _scaled(copy.deepcopy(dict(values)), scale) for stem, values in like.items()}
    for values in every.values():
        values |= {key: name for key in ("profile",) if key in values}
    every["01_data_prep"] |= {
        "dataset": name,
        "data_folder": "",
        "conditions": classes,
        "malignancy_only": extra,
        **numbers,
    }
    every["02_dreambooth"][
        "conditions"
    ] = []  # also those that count in malignancy only: classifiers want their children
    title = f"Do generated images help a classifier of the photographs of {name}?"
    every["08_paper"] |= {"title": title, "note": f"Photographs of the data set {name}."}
    if rows["malignant"].nunique() < 2:
        print("malignant conditions are not known (or all are): malignant against benign is not asked")
        _without_malignancy(every)
    return every


def _split(rows: pd.DataFrame, numbers: Mapping) -> pd.Series:
    """The split that 01 will make, but for near-duplicates, which only it looks for."""
    nothing = pd.DataFrame({"first": [], "second": []}, dtype="str")
    facts = rows[["image_id"]].assign(pixel_sha256="")
    clustered = rows.assign(cluster_id=audit.clusters(rows, facts, nothing))
    return splits.split(clustered, 0, **{name: numbers[name] for name in SPLIT})


def sizes(rows: pd.DataFrame, like: Mapping[str, Mapping]) -> tuple[dict, float]:
    """Split sizes that these photographs allow, and by what the numbers of real images in `like` are multiplied.

    rows: of the study's conditions, with malignancy_only. like: the parameters of a profile, by notebook. The numbers
    of `like` are kept where they fit; otherwise a share of the patients is the test, and each n is halved until it
    fits. Raises ValueError saying which condition has too few photographs.
    """
    own = {name: like["01_data_prep"][name] for name in SPLIT}
    counts = rows.loc[~rows["malignancy_only"], "condition"].value_counts()
    shares = {"test_per_condition": 0, "test_fraction": TEST_FRACTION, "train_per_condition": 0}
    shares["validation_per_condition"] = max(2, min(own["validation_per_condition"], int(counts.min()) // 7))
    for numbers in (own, shares):
        try:
            split = _split(rows, numbers)
            break
        except ValueError as error:
            problem = error
    else:
        raise ValueError(f"these photographs cannot be split into training, validation and test: {problem}")
    train = rows.loc[(split == "train") & ~rows["malignancy_only"], "condition"].value_counts()
    asked = sorted(set(values_of(like["04_training_grid"]["arms"], "n")))
    scale = 1.0
    while max(asked) * scale > train.min():
        scale /= 2
        if min(asked) * scale < 1 or any(n * scale % 1 for n in asked):
            raise ValueError(
                f"{train.idxmin()} has {train.min()} photographs to train on, the design needs "
                f"{max(asked) * scale * 2:g} of"
                " each condition. Bring more, leave it out (--conditions), or follow a smaller profile (--like)"
            )
    return numbers, scale


def values_of(content: object, key: str) -> list[int]:
    """Every value that stands under `key` anywhere in nested lists and dicts, lists of them laid flat."""
    if isinstance(content, dict):
        own = (
            [v for v in (content[key] if isinstance(content[key], list) else [content[key]])] if key in content else []
        )
        return own + [v for k, value in content.items() if k != key for v in values_of(value, key)]
    return [v for value in content for v in values_of(value, key)] if isinstance(content, list) else []


def _scaled(content: object, scale: float) -> object:
    """The same content with every `n` (real images a class) and `rank` multiplied."""
    if isinstance(content, list):
        return [_scaled(value, scale) for value in content]
    if not isinstance(content, dict):
        return content
    times = lambda value: [int(n * scale) for n in value] if isinstance(value, list) else int(value * scale)  # noqa: E731
    return {key: times(value) if key in ("n", "rank") else _scaled(value, scale) for key, value in content.items()}


def _without_malignancy(every: dict[str, dict]) -> None:
    """Take the arms and families out that ask for malignancy; claims that stand on them will say 'not run'."""
    grid, stats = every["04_training_grid"], every["05_fairness_stats"]
    grid["arms"] = [arm for arm in grid["arms"] if arm.get("task") != "malignancy"]
    gone = {name for name, arm in stats["arms"].items() if arm.get("task") == "malignancy" or "malignancy" in name}
    stats["arms"] = {name: arm for name, arm in stats["arms"].items() if name not in gone}
    stats["families"] = {name: f for name, f in stats["families"].items() if not {f["treatment"], f["control"]} & gone}
