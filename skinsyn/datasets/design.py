"""A profile for photographs that nobody has planned for: the design of a known profile, cut to what the images
allow."""

import copy
from collections.abc import Mapping
from typing import Any

import pandas as pd

from skinsyn.stats.hypotheses import Hypotheses

from . import audit, splits

__all__ = ["sizes", "study", "values_of", "without_malignancy"]

TEST_FRACTION = 0.34  # of the patients, where the profile that is followed has no numbers that fit
SPLIT = ("test_per_condition", "validation_per_condition", "train_per_condition", "test_fraction")


def study(
    name: str, rows: pd.DataFrame, classes: list[str], extra: list[str], like: Mapping[str, Mapping], declared: Mapping
) -> tuple[dict[str, dict], dict]:
    """(parameters by notebook, content of the file of hypotheses) of a study of one's own.

    rows: the images of classes and of extra (conditions that count in malignancy only). like, declared: the same of the
    profile to follow. Raises ValueError where the images are too few.
    """
    numbers, scale = sizes(rows, like)
    every = {stem: _scaled(copy.deepcopy(dict(values)), scale) for stem, values in like.items()}
    for values in every.values():
        values |= {"profile": name} if "profile" in values else {}
    every["01_data_prep"] |= {"dataset": name, "data_folder": "", "conditions": classes, "malignancy_only": extra}
    every["01_data_prep"] |= numbers
    every["02_dreambooth"]["conditions"] = []  # all, also those of malignancy only: classifiers need their children
    every["05_fairness_stats"]["hypotheses"] = f"params/{name}/hypotheses.yml"
    title = f"Do generated images help a classifier of the photographs of {name}?"
    every["08_paper"] |= {"title": title, "note": f"Photographs of the data set {name}."}
    hypotheses = _scaled(copy.deepcopy(dict(declared)), scale)
    if rows["malignant"].nunique() < 2:
        print("malignant conditions are not known (or all are): malignant against benign is not asked")
        grid = every["04_training_grid"]
        grid["arms"] = [arm for arm in grid["arms"] if arm.get("task") != "malignancy"]
        hypotheses = without_malignancy(hypotheses)
    return every, hypotheses


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
        own = content.get(key, [])
        deeper = [v for k, value in content.items() if k != key for v in values_of(value, key)]
        return (own if isinstance(own, list) else [own]) + deeper
    return [v for value in content for v in values_of(value, key)] if isinstance(content, list) else []


def _scaled(content: Any, scale: float) -> Any:
    """The same content with every `n` (real images per class) and `rank` multiplied."""
    if isinstance(content, list):
        return [_scaled(value, scale) for value in content]
    if not isinstance(content, dict):
        return content
    return {
        key: _times(value, scale) if key in ("n", "rank") else _scaled(value, scale) for key, value in content.items()
    }


def _times(value: int | list[int], scale: float) -> int | list[int]:
    return [int(n * scale) for n in value] if isinstance(value, list) else int(value * scale)


def without_malignancy(content: dict[str, Any]) -> dict[str, Any]:
    """The hypotheses that name no arm of that task; claims that rest on the others will be 'not run'."""
    declared = Hypotheses.read(content)
    arms = {name for name, settings in declared.arms.items() if settings.get("task") != "malignancy"}
    ids = [
        {(one.family, one.id) for one in ones if {name for _, name in one.terms} <= arms}
        for ones in (declared.hypotheses, declared.sensitivity)
    ]
    if not ids[0]:
        raise ValueError("the profile to follow tests malignancy alone; name another one (--like)")
    content["arms"] = {name: settings for name, settings in content["arms"].items() if name in arms}
    content["hypotheses"] = [one for one in content["hypotheses"] if (one["family"], one["id"]) in ids[0]]
    content["sensitivity"] = [one for one in content.get("sensitivity", []) if ("", one["id"]) in ids[1]]
    families = {one["family"] for one in content["hypotheses"]}
    content["families"] = {name: family for name, family in content["families"].items() if name in families}
    return content
