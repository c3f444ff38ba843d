"""A folder of one's own photographs with a table: read in place, by a description of the table's columns.

The description is `data/<name>/dataset.yml` (or below $SKINSYN_DATA), which `python -m skinsyn init` writes:

    images: /place/of/photographs        # searched with its subfolders
    table: /place/of/table.csv
    separator: ","
    encoding: utf-8-sig
    # image and condition are required
    columns: {image: img_id, condition: diagnostic, fst: fitspatrick, patient: patient_id}
    rename: {BCC: basal cell carcinoma}  # values of the condition column that have another name here
    malignant: [basal cell carcinoma]    # names of the malignant conditions, where no column says it
"""

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
import yaml

from ..run import files, paths
from ..run.records import Record, setting
from . import match

__all__ = ["ROLES", "Description", "describe", "description_file", "match_rows", "read_table", "root", "rows"]

# What a column can be, and the question that init asks for it. The first two are needed.
ROLES = {
    "image": "names the photograph",
    "condition": "names its condition (the diagnosis)",
    "malignant": "says whether it is malignant",
    "fst": "holds the Fitzpatrick skin type",
    "patient": "names the patient",
    "lesion": "names the lesion",
}
NO_CONDITION = "no condition given"
UNKNOWN = ("", "-1", "-1.0", "nan", "na", "n/a", "none", "unknown", "?", "-")
YES = ("1", "1.0", "true", "t", "yes", "y", "malignant")
NO = ("0", "0.0", "false", "f", "no", "n", "benign")
ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6}
_TYPE = re.compile(r"(?:fitzpatrick|fst|skin)?[\s_]*(?:skin)?[\s_]*(?:type)?[\s_]*([1-6]|iii|ii|iv|i|vi|v)(?:\.0)?")


@dataclass(frozen=True)
class Description(Record):
    """Where a data set of one's own lies and what its columns mean: the content of dataset.yml.

    >>> Description("photos", "table.csv", ",", "utf-8", {"image": "file", "condition": "dx"}, {}, []).columns["image"]
    'file'
    """

    images: str = setting(about="folder of the photographs")
    table: str = setting(about="the CSV table")
    separator: str = setting(about="between the table's cells")
    encoding: str = setting(about="of the table")
    columns: dict = setting(about="role (ROLES) → column")
    rename: dict = setting(about="value of the condition column → name of the condition")
    malignant: list = setting(about="names of the malignant conditions, where no column says it")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not {"image", "condition"} <= set(self.columns) <= set(ROLES):
            raise ValueError(
                f"columns: expected image, condition, others of {', '.join(ROLES)}; found {self.columns!r:.99}"
            )


def description_file(name: str) -> Path:
    """Where the description of the data set `name` lies: in the folder that `paths.data_dir` finds for it.

    Raises FileNotFoundError naming every place and the command that writes it.
    """
    try:
        file = paths.data_dir(name) / "dataset.yml"
        if file.is_file():
            return file
        message = f"{file.parent} holds no dataset.yml"
    except FileNotFoundError as error:
        message = str(error)
    how = f"python -m skinsyn init {name} --images FOLDER --table CSV"
    raise FileNotFoundError(f"{message}\nA data set of one's own is described by: {how}")


def describe(name: str) -> Description:
    """The checked description. Raises FileNotFoundError, or ValueError naming file, key and expected value."""
    file = description_file(name)
    try:
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not YAML: {error}") from error
    keys = sorted(Description.names())
    if not isinstance(content, dict) or sorted(content) != keys:
        raise ValueError(f"{file}: expected the keys {', '.join(keys)}, found {content!r:.200}")
    files.log_access("read", file)
    return Description.read(content, where=str(file))


def root(name: str) -> Path:
    """The folder of the photographs. Raises FileNotFoundError where it is gone."""
    folder = Path(describe(name).images)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the photographs of {name} are gone: no folder {folder}; mend {description_file(name)}"
        )
    return folder.resolve()


def read_table(file: Path, separator: str = "", encoding: str = "utf-8-sig") -> tuple[pd.DataFrame, str]:
    """A CSV table of any separator as text, empty cells as '': (table, separator).

    separator: '' finds out which of , ; tab and | it is. Raises FileNotFoundError, or ValueError for another encoding,
    a table that cannot be read, repeated column names, and lines of another length.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "table.csv").write_text("image;diagnosis\\n1.png; target\\n")
    ...     frame, separator = read_table(Path(folder, "table.csv"))
    >>> frame.to_dict("records"), separator
    ([{'image': '1.png', 'diagnosis': 'target'}], ';')
    """
    if not file.is_file():
        raise FileNotFoundError(f"the table is missing: {file}")
    try:
        text = file.read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        hint = "save it as CSV UTF-8, or give --encoding, e.g. cp1252"
        raise ValueError(f"{file}: not {encoding} at byte {error.start}; {hint}") from error
    except LookupError as error:
        raise ValueError(f"{file}: no encoding is called {encoding!r}; usual ones: utf-8-sig, cp1252") from error
    separator = separator or max(",;\t|", key=text.partition("\n")[0].count)
    # The csv module, since pandas fills short rows silently.
    lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if line]
    if len(lines) < 2:
        raise ValueError(f"{file}: expected a line of column names and at least one row; found {len(lines)} lines")
    names = [name.strip() for name in lines[0]]
    if len(set(names)) < len(names):
        raise ValueError(f"{file}: the column {max(names, key=names.count)!r} stands twice")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise ValueError(f"{file}: row {number} has {len(line)} cells, {len(names)} are named: {line!r:.120}")
    return pd.DataFrame(lines[1:], columns=names, dtype="str").apply(lambda column: column.str.strip()), separator


def _parsed(values: pd.Series, read: Mapping[str, object], what: str, expected: str, keys: pd.Series) -> pd.Series:
    """Each value looked up in `read`. Raises ValueError naming the values that are not in it, and a row of each."""
    strange = ~values.isin(list(read))
    if strange.any():
        seen = values[strange].drop_duplicates()[:5]
        examples = ", ".join(f"{value!r} (row of {keys[i]})" for i, value in seen.items())
        raise ValueError(f"{what}, {int(strange.sum())} rows: {examples}; expected {expected}. Correct the table")
    return values.map(read)


def _skin_types(values: pd.Series, keys: pd.Series) -> pd.Series:
    low = values.str.lower()
    read: dict[str, object] = {}
    for value in low.unique():
        if value in UNKNOWN:
            read[value] = -1
        elif matched := _TYPE.fullmatch(value):
            read[value] = ROMAN.get(matched[1]) or int(matched[1])
    return _parsed(low, read, "Fitzpatrick skin type", "1 to 6, I to VI, or empty for unknown", keys).astype("int64")


def _safe_ids(names: pd.Series) -> list[str]:
    """File names as image ids: letters, digits, _ and -; names that would coincide get a digest of the whole name."""
    stems = [str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).suffix.lower() in match.SUFFIXES else name
             for name in names]  # fmt: skip
    safe = pd.Series([re.sub(r"[^A-Za-z0-9_-]", "_", stem.strip("/.")).lstrip("-")[-150:] or "image" for stem in stems])
    twice = safe.str.lower().duplicated(keep=False)
    digests = [hashlib.sha256(name.encode()).hexdigest()[:8] for name in names]
    return [f"{s}_{d}" if t else s for s, d, t in zip(safe, digests, twice, strict=True)]


def rows(description: Description) -> pd.DataFrame:
    """Every row of the table: image_id, file, condition, malignant, fst (-1 unknown), patient_id, lesion_id and
    label_flag.

    Raises FileNotFoundError or ValueError naming the table, column, value and row.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "t.csv").write_text("file,dx,skin\\na.jpg,BCC,III\\n")
    ...     columns = {"image": "file", "condition": "dx", "fst": "skin"}
    ...     about = Description(folder, f"{folder}/t.csv", ",", "utf-8", columns, {"BCC": "basal cell carcinoma"}, [])
    ...     rows(about)[["image_id", "condition", "fst"]].to_numpy().tolist()
    [['a', 'basal cell carcinoma', 3]]
    """
    file, columns = Path(description.table), description.columns
    frame, _ = read_table(file, description.separator, description.encoding)
    files.log_access("read", file)
    if lacking := [name for name in columns.values() if name not in frame]:
        raise ValueError(f"{file}: no column {lacking[0]!r}; it has {', '.join(frame.columns)}")
    names = frame[columns["image"]].str.replace("\\", "/", regex=False).str.removeprefix("./")
    if (names == "").any():
        raise ValueError(f"{file}: {columns['image']} is empty in row {int((names == '').argmax()) + 2}")
    if names.duplicated().any():
        example = names[names.duplicated()].iloc[0]
        raise ValueError(f"{file}: {example!r} stands in several rows of {columns['image']}; expected one per image")
    value = {role: frame[name] for role, name in columns.items()}
    empty = pd.Series("", index=frame.index, dtype="str")
    condition = value["condition"].replace(description.rename).replace("", NO_CONDITION)
    malignant = condition.isin(description.malignant)
    if "malignant" in value:
        words = dict.fromkeys(YES, True) | dict.fromkeys(NO, False)
        what, expected = f"{file}: {columns['malignant']}", "1 or 0, true or false, yes or no, malignant or benign"
        malignant = _parsed(value["malignant"].str.lower(), words, what, expected, names).astype(bool)
    patient, lesion = value.get("patient", empty), value.get("lesion", empty)
    read = {
        "image_id": _safe_ids(names),
        "file": names,
        "condition": condition,
        "malignant": malignant,
        "fst": _skin_types(value.get("fst", empty), names),
        "patient_id": patient,
        # Lesions are often numbered anew for each patient: a lesion of another patient is another lesion.
        "lesion_id": (patient + "/" + lesion).where(lesion != "", ""),
    }
    strings = dict.fromkeys(("image_id", "file", "condition", "patient_id", "lesion_id"), "str")
    return pd.DataFrame(match.NOT_RECORDED | read).astype(strings)


def match_rows(names: Sequence[str], images: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find each row's image by its name with or without suffix; folders count as far as both name them.

    names: as the table gives them; images: relative paths. Returns (path of each row, '' where there is none or where
    several fit equally well; images that belong to no row), as `match.match` does.

    >>> match_rows(["a", "2019/b.png", "c"], ["2019/b.png", "2020/b.png", "x/a.jpg"])
    (['x/a.jpg', '2019/b.png', ''], ['2020/b.png'])
    """
    by_stem, paths_of_rows = match.stems(images), []
    for name in names:
        path = PurePosixPath(name)
        stem = path.stem if path.suffix.lower() in match.SUFFIXES else path.name
        fits = [image for image in by_stem.get(stem, []) if _agree(path.parts[:-1], PurePosixPath(image).parts[:-1])]
        best = [i for i in fits if i == name] or [i for i in fits if PurePosixPath(i).name == path.name] or fits
        paths_of_rows.append(best[0] if len(best) == 1 else "")
    return paths_of_rows, sorted(set(images) - set(paths_of_rows))


def _agree(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two chains of folders are the same as far as both go, from the file upwards."""
    return all(a == b for a, b in zip(reversed(one), reversed(other), strict=False))
