"""Somebody else's predictions: a table in one file becomes a run of its own, analysed by 05 and 05b."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import yaml

from skinsyn.stats import all_pairs, estimands, intake
from skinsyn.stats.hypotheses import Hypotheses
from skinsyn.stats.predictions import Block, blocks, check_predictions

from . import files, looks, params, paths, pipeline, tables

__all__ = ["NOTEBOOKS", "analyse", "hypotheses", "parameters", "read"]

NOTEBOOKS = ("05_fairness_stats", "05b_description")


def read(file: Path, positive: str = "") -> intake.Adapted:
    """The predictions in a Parquet or CSV file under their contract (`stats.contract`), and remarks for their reader.

    positive: the class to be found in tasks of two classes. Raises FileNotFoundError, ValueError naming the file and
    what is wrong with it.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file; give a Parquet or CSV table of predictions")
    try:
        if file.suffix.lower() == ".csv":
            frame = pd.read_csv(file, dtype={name: "str" for name in intake.TEXT})
        else:
            frame = pd.read_parquet(file)
    except (pa.ArrowInvalid, pd.errors.ParserError, UnicodeDecodeError, pd.errors.EmptyDataError) as error:
        raise ValueError(
            f"{file}: cannot be read as {file.suffix or 'a table'} ({error}); give .parquet or .csv"
        ) from error
    try:
        adapted = intake.adapt(frame, positive)
        return adapted._replace(remarks=adapted.remarks + check_predictions(adapted.frame))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def hypotheses(frame: pd.DataFrame, name: str) -> tuple[Path, str]:
    """(file of hypotheses, what it holds) for predictions whose reader declares none.

    The demo's hypotheses where the table has its primary arms, else every pair of arms, written into the run's folder.
    Raises ValueError where there are too many pairs.
    """
    prepared, usual = blocks(frame), paths.project_root() / "params" / "demo" / "hypotheses.yml"
    if _has(prepared, usual):
        return usual, "those of the demo, whose primary arms these predictions have"
    declared = all_pairs.hypotheses(prepared)
    file = paths.run_dir(name) / "hypotheses.yml"
    with files.atomic(file) as temporary:
        temporary.write_text(yaml.safe_dump(declared, sort_keys=False, allow_unicode=True))
    ids = [one["id"] for one in declared["hypotheses"]]
    return file, f"every pair of arms ({len(ids)}), Holm-adjusted within a task, the primary one being {ids[0]}: {file}"


def _has(prepared: Mapping[str, Block], file: Path) -> bool:
    """Whether each primary arm of a file of hypotheses is one arm of these predictions."""
    declared = Hypotheses.load(str(file))
    try:
        return all(estimands.was_run(prepared, arm) for arm in declared.named(declared.primary.pairs[0]))
    except ValueError:  # settings that fit several arms
        return False


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
