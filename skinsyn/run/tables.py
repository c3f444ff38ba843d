"""Tables passed between notebooks: Parquet under `runs/<profile>/tables`, and CSV beside the figures for readers."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from . import files, looks, paths

__all__ = ["committed", "path", "read", "save"]


def path(profile: str, name: str) -> Path:
    """Where the table `name` of a run lies."""
    return paths.run_dir(profile) / "tables" / f"{name}.parquet"


def read(profile: str, name: str, made_by: str, read_by: str = "") -> pd.DataFrame:
    """Read a table that the notebook `made_by` saved.

    The table `predictions` holds answers to test images: that they are read, and by whom, is logged (see `looks`).
    Raises FileNotFoundError naming the notebook that makes it, ValueError where the file is damaged.

    >>> read("demo", "absent", made_by="04_training_grid")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: the table 'absent' of the run 'demo' is missing: ...
    """
    file = path(profile, name)
    if not file.exists():
        raise FileNotFoundError(
            f"the table {name!r} of the run {profile!r} is missing: {file}\n"
            f"It is made by notebooks/{made_by}.ipynb. Run that first, or: "
            f"python -m skinsyn run --profile {profile} --only {made_by[:2]}"
        )
    files.log_access("read", file)
    if name == "predictions":
        looks.note(profile, file, read_by)
    try:
        return pd.read_parquet(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"the table {name!r} is damaged: {file} ({error})\nMake it again: "
            f"python -m skinsyn run --profile {profile} --only {made_by[:2]}"
        ) from error


def committed(name: str) -> pd.DataFrame | None:
    """The table figures/demo/<name>.csv, which is kept under version control; None where it is absent."""
    file = paths.project_root() / "figures" / "demo" / f"{name}.csv"
    files.log_access("read", file)
    return pd.read_csv(file) if file.exists() else None


def save(profile: str, name: str, frame: pd.DataFrame, made_by: str, csv: bool = False) -> Path:
    """Save a table, atomically; with `csv`, also as `figures/<profile>/<made_by>-<name>.csv` for people.

    The row index is not kept: name it as a column. Returns the Parquet file's path.

    >>> import os, tempfile
    >>> from unittest import mock
    >>> with tempfile.TemporaryDirectory() as place, mock.patch.dict(os.environ, SKINSYN_RUNS=place):
    ...     save("demo", "counts", pd.DataFrame({"n": [2, 3]}), made_by="01_data_prep").name
    ...     read("demo", "counts", made_by="01_data_prep")["n"].sum()
    'counts.parquet'
    np.int64(5)
    """
    file = path(profile, name)
    with files.atomic(file) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")
    files.log_access("write", file)
    if csv:
        text = paths.figures_dir(profile) / f"{made_by}-{name}.csv"
        with files.atomic(text) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")
        files.log_access("write", text)
    return file
