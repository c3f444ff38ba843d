"""Rows to files: which row of a metadata table has its photograph, and which photograph has no row."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

__all__ = ["NOT_RECORDED", "SUFFIXES", "excluded", "find_images", "match", "read_csv", "stems"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# What a loader's rows hold in the columns that a data set does not have.
NOT_RECORDED = {"fst": -1, "patient_id": "", "lesion_id": "", "label_flag": ""}


def read_csv(file: Path, columns: Sequence[str], key: str) -> pd.DataFrame:
    """Read a data set's own metadata table.

    columns: those that must be there. key: the one that names a row, unique and never empty.
    Raises FileNotFoundError, or ValueError naming the file, the column and the rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "table.csv").write_text("image,fst\\n007,3\\n")
    ...     read_csv(Path(folder, "table.csv"), ["image", "fst"], key="image").to_dict("records")
    [{'image': '007', 'fst': 3}]
    """
    if not file.is_file():
        raise FileNotFoundError(f"the metadata table is missing: {file}")
    try:
        frame = pd.read_csv(file, dtype={key: "str"})
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{file}: not a readable CSV table: {error}") from error
    if lacking := [name for name in columns if name not in frame]:
        raise ValueError(
            f"{file}: the column(s) {', '.join(lacking)} are missing; found {', '.join(map(str, frame.columns))}"
        )
    if frame[key].isna().any():
        raise ValueError(f"{file}: {key} is empty in data row {int(frame[key].isna().argmax()) + 1}")
    twice = frame[key][frame[key].duplicated()].unique()
    if len(twice):
        raise ValueError(f"{file}: {key} must be unique; {len(twice)} are repeated, e.g. {', '.join(twice[:3])}")
    return frame


def find_images(folder: Path) -> list[str]:
    """All image files below a folder, as paths relative to it, sorted; hidden files are left out.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = [Path(folder, name).touch() for name in ("b.PNG", "a.jpg", ".c.jpg", "d.txt")]
    ...     find_images(Path(folder))
    ['a.jpg', 'b.PNG']
    """
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def excluded(ids: Sequence[str], stage: str, reason: str | Sequence[str]) -> pd.DataFrame:
    """Rows of the attrition table: image_id (or file name), stage, reason.

    >>> excluded(["a"], "decoding", "not an image").to_dict("records")
    [{'image_id': 'a', 'stage': 'decoding', 'reason': 'not an image'}]
    """
    ids = [str(i) for i in ids]
    reasons = [reason] * len(ids) if isinstance(reason, str) else list(reason)
    return pd.DataFrame({"image_id": ids, "stage": stage, "reason": reasons}, dtype="str")


def match(files: Sequence[str], images: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find each row's image by name, in any subfolder and with any image suffix; one with the very name goes first.

    files: names as the metadata table gives them, e.g. `PAT_8_15_820.png`. images: relative paths, from `find_images`.
    Returns (path of each row, '' where there is none; images that belong to no row, or are a second file of a row).

    >>> match(["a.png", "b.png"], ["part 1/a.jpg", "part 2/a.png"])
    (['part 2/a.png', ''], ['part 1/a.jpg'])
    """
    by_stem, paths = stems(images), []
    for name in files:
        fits = by_stem.get(PurePosixPath(name).stem, [])
        order = sorted(fits, key=lambda image: (image != name, Path(image).name != Path(name).name, image))
        paths.append((order or [""])[0])
    return paths, sorted(set(images) - set(paths))


def stems(images: Iterable[str]) -> dict[str, list[str]]:
    """Images by their names without folder and suffix.

    >>> stems(["a/x.jpg", "x.png", "y.png"])
    {'x': ['a/x.jpg', 'x.png'], 'y': ['y.png']}
    """
    by_stem: dict[str, list[str]] = {}
    for image in images:
        by_stem.setdefault(PurePosixPath(image).stem, []).append(image)
    return by_stem
