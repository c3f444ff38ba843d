"""Somebody else's predictions: a table in one file becomes a run of its own, analysed by 05 and 05b."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from skinsyn.stats.predictions import check_predictions

from . import looks, params, paths, pipeline, tables

__all__ = ["NOTEBOOKS", "analyse", "parameters", "read"]

NOTEBOOKS = ("05_fairness_stats", "05b_description")
TEXT = ("arm", "image_id", "cluster_id", "condition", "fst_group", "task", "y_true", "source", "method", "generator")


def read(file: Path) -> pd.DataFrame:
    """The predictions in a Parquet or CSV file, checked by their contract (`stats.predictions`).

    Raises FileNotFoundError, ValueError naming the file and what is wrong with it.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file; give a Parquet or CSV table of predictions")
    try:
        if file.suffix.lower() == ".csv":
            frame = pd.read_csv(file, dtype={name: "str" for name in TEXT})
        else:
            frame = pd.read_parquet(file)
    except (pa.ArrowInvalid, pd.errors.ParserError, UnicodeDecodeError, pd.errors.EmptyDataError) as error:
        raise ValueError(
            f"{file}: cannot be read as {file.suffix or 'a table'} ({error}); give .parquet or .csv"
        ) from error
    try:
        check_predictions(frame)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return frame


def parameters(name: str, files: Sequence[Path], changed: dict | None = None) -> tuple[dict[str, dict], list[str]]:
    """(notebook → values, the names left to the notebooks' own defaults), from parameter files; later files win.

    Raises params.ParameterError for an unknown or mistyped key, and where `name` is a profile, whose run it would
    overwrite.
    """
    if name in params.profiles() or Path(name).name != name or name.startswith("."):
        raise params.ParameterError(
            f"--name {name}: a profile of that name exists, or it is no plain name; give another"
        )
    values, lacking = params.of_files(NOTEBOOKS, list(files), changed)
    return {stem: own | {"profile": name} for stem, own in values.items()}, [key for key in lacking if key != "profile"]


def analyse(frame: pd.DataFrame, name: str, values: dict[str, dict]) -> Path:
    """Save the predictions as the run `name` and execute 05 and 05b on it, with the values of `parameters`.

    Returns the folder of figures and tables. Raises pipeline.NotebookFailed where a notebook stops.
    """
    looks.note(name, tables.save(name, "predictions", frame, made_by="04_training_grid"), "skinsyn stats")
    for stem in NOTEBOOKS:
        pipeline.run_one(name, stem, values[stem])
    return paths.figures_dir(name)
