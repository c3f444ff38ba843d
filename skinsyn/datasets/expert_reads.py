"""Skin type read by experts: a validation sample for the skin types that annotators recorded.

A CSV table, one row per image: any number of `dermatologist_…` columns (types 1-6, -1 or empty for unknown), and one
column per annotator whose types the images carry, e.g. `scale` and `centaur`.
"""

import itertools
from pathlib import Path

import pandas as pd

from ..run import files, paths
from . import audit
from .table import fst_group

EXPERT = "dermatologist_"
NOT_GIVEN = "no file of expert reads is given (expert_reads is empty)"


def find(name: str) -> Path | None:
    """The file, its path from the project's folder, or below a folder that `paths.data_dir` finds; None: no such file.

    >>> find("") is None
    True
    """
    if not name:
        return None
    file = paths.resolve(name)
    if not file.is_file():
        try:
            file = paths.data_dir(Path(name).parts[0]).joinpath(*Path(name).parts[1:])
        except FileNotFoundError:
            return None
    return file if file.is_file() else None


def read(file: Path, annotators: tuple[str, ...] = ("scale", "centaur")) -> pd.DataFrame:
    """The reads: the experts' types, expert (their median, NaN where none read it), expert_group, and the type and
    <annotator>_group of each annotator. A median between two groups (2.5 or 4.5) is of neither: unknown.

    Raises ValueError naming the file, the column, and what was expected.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "r.csv").write_text("dermatologist_1,dermatologist_2,scale\\n3,4,2\\n2,3,-1\\n")
    ...     read(Path(folder, "r.csv"), ("scale",))[["expert_group", "scale_group"]].values.tolist()
    [['III-IV', 'I-II'], ['unknown', 'unknown']]
    """
    files.log_access("read", file)
    try:
        frame = pd.read_csv(file)
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{file}: not a readable CSV table: {error}") from error
    experts = [name for name in frame if str(name).startswith(EXPERT)]
    known = [name for name in annotators if name in frame]
    if not experts or not known:
        expected = f"one or more columns {EXPERT}… and one or more of {', '.join(annotators)}"
        raise ValueError(f"{file}: expected {expected}; found {', '.join(map(str, frame.columns))}")
    for name in [*experts, *known]:
        types = pd.to_numeric(frame[name], errors="coerce").where(frame[name].notna(), -1)
        if wrong := sorted(set(frame.loc[~types.isin([-1, *range(1, 7)]), name].astype(str))):
            raise ValueError(f"{file}: column {name!r} holds {', '.join(wrong[:3])}; expected 1 to 6, -1 for unknown")
        frame[name] = types.astype(int)
    frame["expert"] = frame[experts].where(frame[experts] > 0).median(axis=1)
    between = frame["expert"].isna() | frame["expert"].isin([2.5, 4.5])
    frame["expert_group"] = fst_group(frame["expert"].round().where(~between, -1).astype(int))
    return frame.assign(**{f"{name}_group": fst_group(frame[name]) for name in known})


def agreement(reads: pd.DataFrame) -> pd.DataFrame:
    """How any two of the experts and annotators agree: first, second, then `audit.agreement`'s columns.

    >>> reads = pd.DataFrame({"dermatologist_1": [1, 2], "scale": [1, 3], "scale_group": ["I-II", "III-IV"]})
    >>> agreement(reads)[["first", "second", "exact", "within_one"]].values.tolist()
    [['dermatologist_1', 'scale', 0.5, 1.0]]
    """
    names = [name for name in reads if str(name).startswith(EXPERT) or f"{name}_group" in reads]
    names = [name for name in names if name != "expert"]
    pairs = itertools.combinations(names, 2)
    return pd.DataFrame([{"first": a, "second": b, **audit.agreement(reads[a], reads[b])} for a, b in pairs])
