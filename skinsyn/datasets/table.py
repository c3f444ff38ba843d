"""The table of images: its schema, its checks, and how every data set is read into it.

One row per image; excluded rows are counted with a stage and a reason in the attrition table.
"""

import difflib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pandas as pd

from ..images import SAFE_ID
from ..run import paths, store
from . import ddi, fitzpatrick17k, ham10000, match, pad_ufes_20, phantom
from . import folder as own

__all__ = [
    "COLUMNS", "DATASETS", "SPLITS", "check_conditions", "conditions_of", "find", "flow", "fst_group", "keep_phantoms",
    "load", "validate",
]  # fmt: skip

RECIPE = 1  # raise it when a data set of phantoms is laid out in another way
GROUPS = {-1: "unknown", 1: "I-II", 2: "I-II", 3: "III-IV", 4: "III-IV", 5: "V-VI", 6: "V-VI"}
GROUPS |= dict(zip(ddi.SKIN_TONES, ("I-II", "III-IV", "V-VI"), strict=True))  # DDI knows the pair only
SPLITS = ("train", "validation", "test", "unused")
# Each has rows(folder), CONDITIONS where they are fixed, and HOW_TO get its images where the user brings them.
LOADERS: dict[str, ModuleType] = {
    "phantom": phantom, "pad_ufes_20": pad_ufes_20, "fitzpatrick17k": fitzpatrick17k, "ddi": ddi, "ham10000": ham10000,
}  # fmt: skip
DATASETS = tuple(LOADERS)
# What a loader gives, and what 01 adds to it.
COLUMNS = {
    "image_id": "str", "path": "str", "condition": "str", "malignant": "bool", "fst": "int", "fst_group": "str",
    "source": "str", "patient_id": "str", "lesion_id": "str", "malignancy_only": "bool",
}  # fmt: skip
ADDED = {"cluster_id": "str", "split": "str", "unit": "str", "row": "int"}
_IS = {"str": pd.api.types.is_string_dtype, "bool": pd.api.types.is_bool_dtype, "int": pd.api.types.is_integer_dtype}


def fst_group(fst: pd.Series) -> pd.Series:
    """Fitzpatrick types 1-6, and DDI's pairs 12, 34, 56, to 'I-II', 'III-IV', 'V-VI'; -1 stays 'unknown'.

    Raises ValueError for anything else.

    >>> fst_group(pd.Series([1, 4, 56, -1])).tolist()
    ['I-II', 'III-IV', 'V-VI', 'unknown']
    """
    group = fst.map(GROUPS)
    if group.isna().any():
        wrong = sorted(fst[group.isna()].unique())
        raise ValueError(f"fst: expected 1 to 6, or -1 for unknown; found {', '.join(map(str, wrong))}")
    return group.astype("str")


def check_conditions(wanted: Sequence[str], known: Sequence[str], where: str = "conditions") -> None:
    """Raises ValueError where a wanted condition is not known, with the nearest known name, or is asked for twice.

    >>> check_conditions(["targe"], ["target", "linear"])
    Traceback (most recent call last):
    ValueError: conditions: unknown condition 'targe'; nearest is 'target'
    """
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
            raise ValueError(f"{where}: unknown condition {name!r}; nearest is {near[0] if near else 'none'!r}")
    if len(set(wanted)) != len(wanted):
        raise ValueError(f"{where}: a condition is named twice in {list(wanted)}")


def validate(frame: pd.DataFrame, conditions: Sequence[str] | None = None, complete: bool = False) -> pd.DataFrame:
    """Check the table and give it back.

    conditions: the names that may occur; None: any. complete: also what 01 adds (cluster_id, split, unit, row) is
    there. Raises ValueError naming the column, the rows and what was expected.
    """
    expected = COLUMNS | (ADDED if complete else {})
    if lacking := [name for name in expected if name not in frame]:
        raise ValueError(
            f"the table of images lacks the column(s) {', '.join(lacking)}; found {', '.join(frame.columns)}"
        )
    if frame.empty:
        raise ValueError("the table of images has no rows")
    for name, kind in expected.items():
        if not _IS[kind](frame[name].dtype) or frame[name].isna().any():
            raise ValueError(f"column {name!r}: expected {kind} without gaps, found {frame[name].dtype}")
    twice = frame["image_id"][frame["image_id"].duplicated()].unique()
    if len(twice):
        raise ValueError(f"image_id must be unique; {len(twice)} are repeated, e.g. {', '.join(twice[:3])}")
    if unsafe := [name for name in frame["image_id"] if not SAFE_ID.fullmatch(name)]:
        raise ValueError(f"image_id may hold letters, digits, _ and -; {unsafe[:3]} do not fit")
    if conditions is not None:
        check_conditions(sorted(frame["condition"].unique()), list(conditions), "column 'condition'")
    wrong = frame["fst_group"] != fst_group(frame["fst"])
    if wrong.any():
        raise ValueError(
            f"fst_group does not follow from fst in {int(wrong.sum())} rows, e.g. {frame['image_id'][wrong].iloc[0]}"
        )
    both = frame.groupby("condition")["malignant"].nunique()
    if (both > 1).any() and "source" in frame and frame["source"].nunique() == 1:
        raise ValueError(f"{both.idxmax()!r} is marked both malignant and not")
    if complete and not set(frame["split"]) <= set(SPLITS):
        raise ValueError(f"split: expected {', '.join(SPLITS)}; found {', '.join(sorted(set(frame['split'])))}")
    return frame


def find(dataset: str, data_folder: str) -> Path:
    """The folder of a data set that the user brings.

    data_folder: its name or path; a data set of one's own is found by its description.

    Raises ValueError for an unknown data set, FileNotFoundError saying where to put which files and how to get them.

    >>> find("ham1000", "")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: dataset: 'ham1000' is not known; nearest is 'ham10000' of phantom, pad_ufes_20, ...
    """
    if dataset not in DATASETS:
        try:
            return own.root(dataset)
        except FileNotFoundError as error:
            near = difflib.get_close_matches(dataset, DATASETS, n=1, cutoff=0.0)[0]
            known = f"dataset: {dataset!r} is not known; nearest is {near!r} of {', '.join(DATASETS)}"
            raise ValueError(f"{known}, or one of your own:\n{error}") from error
    try:
        return paths.data_dir(data_folder or dataset)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}\n{_how_to(dataset)}") from None


def _how_to(dataset: str) -> str:
    return getattr(LOADERS.get(dataset), "HOW_TO", "")


def keep_phantoms(seed: int, per_condition: int, size: int, fst_weights: Sequence[float], shift: float = 0.0) -> Path:
    """The folder of a data set of phantoms, made once and kept as a unit (see phantom.make_dataset).

    shift: 0 is the demo's camera, 1 another one (see phantom.draw). Its key holds the pixels of one phantom of each
    condition, so that a change of the drawing makes the set again.
    """
    drawn = [phantom.draw(name, 3, seed, size).image.tobytes() for name in phantom.CONDITIONS]
    look = hashlib.sha256(b"".join(drawn)).hexdigest()
    weights = list(map(float, fst_weights))
    settings: dict[str, object] = {"seed": seed, "per_condition": per_condition, "size": size, "fst_weights": weights}
    settings |= {"shift": float(shift)} if shift else {}
    key = store.key_of("phantoms", RECIPE, settings, {"drawing": look}, threads=0)

    def make(folder: Path) -> None:
        phantom.make_dataset(folder, seed, per_condition, size, weights, shift=float(shift))

    return store.keep("phantoms", key, make, settings)


def _rows(dataset: str, folder: Path, fst_annotator: str) -> pd.DataFrame:
    if dataset == "fitzpatrick17k":
        return fitzpatrick17k.rows(folder, fst_annotator)
    return LOADERS[dataset].rows(folder) if dataset in LOADERS else own.rows(own.describe(dataset))


def _known(dataset: str, rows: pd.DataFrame) -> list[str]:
    """The conditions that a loader names, by its codes or in a list; else those of the rows."""
    names = getattr(LOADERS.get(dataset), "CONDITIONS", sorted(rows["condition"].unique()))
    return list(names.values() if isinstance(names, dict) else names)


def conditions_of(dataset: str, folder: Path) -> list[str]:
    """The conditions that a data set knows, as `load` names them. Raises as `load`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = phantom.make_dataset(Path(folder), per_condition=1, size=16)
    ...     conditions_of("phantom", Path(folder))[:2]
    ['annular', 'papular']
    """
    return _known(dataset, _rows(dataset, folder, "scale"))


def _no_image(url: str | None) -> str:
    return "no image for this row, and no url to get it from" if url == "" else "no image for this row"


def load(
    dataset: str,
    folder: Path,
    conditions: Sequence[str],
    malignancy_only: Sequence[str] = (),
    fst_annotator: str = "scale",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a data set into the table, sorted by image_id, and count what is left out.

    dataset: one of DATASETS or the name of one's own (`folder` describes it). conditions: the classes; malignancy_only:
    conditions that are kept and marked, and count only in the malignancy task. fst_annotator: whose skin type
    Fitzpatrick 17k's rows take. Returns (table with COLUMNS and label_flag, attrition: image_id or file, stage,
    reason). Raises FileNotFoundError where no image is there at all, ValueError naming file, column, row or condition.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = phantom.make_dataset(Path(folder), per_condition=1, size=16)
    ...     rows, attrition = load("phantom", Path(folder), ["annular", "target"])
    >>> rows["condition"].tolist(), attrition["reason"].unique().tolist()
    (['annular', 'target'], ['not a condition of this study'])
    """
    rows = _rows(dataset, folder, fst_annotator)
    known = _known(dataset, rows)
    check_conditions(conditions, known, "conditions")
    check_conditions(malignancy_only, known, "malignancy_only")
    if both := sorted(set(conditions) & set(malignancy_only)):
        raise ValueError(f"malignancy_only: {both} are also among the conditions")
    images = [i for i in match.find_images(folder) if not (dataset == "phantom" and i.startswith("masks/"))]
    if not images:
        raise FileNotFoundError(f"no image at all below {folder}.\n{_how_to(dataset)}")
    rows["path"], lonely = (match.match if dataset in DATASETS else own.match_rows)(rows["file"], images)
    out = [match.excluded(lonely, "files", "image without a row, or a second file of a row")]

    def drop(rows: pd.DataFrame, gone: pd.Series, stage: str, reasons: str | list[str]) -> pd.DataFrame:
        out.append(match.excluded(rows["image_id"][gone], stage, reasons))
        return rows[~gone]

    strange = ~rows["condition"].isin(known)
    rows = drop(rows, strange, "selection", [f"unknown condition {name!r}" for name in rows["condition"][strange]])
    others = ~rows["condition"].isin([*conditions, *malignancy_only])
    rows = drop(rows, others, "selection", "not a condition of this study")
    rows = drop(rows, rows["label_flag"] == fitzpatrick17k.WRONG, "labels", "marked wrongly labelled")
    gone = rows["path"] == ""
    urls = rows["url"][gone] if "url" in rows else [None] * int(gone.sum())
    rows = drop(rows, gone, "images", [_no_image(url) for url in urls])
    table = rows.assign(fst_group=fst_group(rows["fst"]), source=dataset)
    table["malignancy_only"] = table["condition"].isin(list(malignancy_only))
    facts = [name for name in ("fst_scale", "fst_centaur", "site") if name in table]
    table = table.sort_values("image_id", ignore_index=True)[[*COLUMNS, "label_flag", *facts]]
    return validate(table, [*conditions, *malignancy_only]), pd.concat(out, ignore_index=True)


def flow(table: pd.DataFrame, attrition: pd.DataFrame) -> pd.DataFrame:
    """The study's flow, from the data set's rows to the splits: stage, images. Files without a row are not rows.

    >>> rejected = pd.DataFrame({"image_id": ["c"], "stage": ["labels"], "reason": ["marked wrongly labelled"]})
    >>> flow(pd.DataFrame({"split": ["train", "test"]}), rejected)["images"].tolist()
    [3, 3, 2, 2, 2, 2, 1, 0, 1, 0]
    """
    lost = attrition["stage"].value_counts()
    stages = {"selection": "of the study's conditions", "labels": "label not rejected", "images": "with an image"}
    stages["decoding"] = "image readable"
    left = len(table) + sum(int(lost.get(stage, 0)) for stage in stages)
    lines = [("rows of the data set", left)]
    for stage, name in stages.items():
        left -= int(lost.get(stage, 0))
        lines.append((name, left))
    lines.append(("in a split", int((table["split"] != "unused").sum())))
    lines += [(split, int((table["split"] == split).sum())) for split in SPLITS]
    return pd.DataFrame(lines, columns=["stage", "images"])
