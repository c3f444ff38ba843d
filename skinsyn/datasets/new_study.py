"""`python -m skinsyn init`: from a folder of photographs and a table to a data set's description and a complete
profile."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from ..run import files, params, paths, profiles
from . import design, folder, match, table

__all__ = ["ask_columns", "ask_conditions", "guess", "init"]

AT_LEAST = 20  # images of a condition that is a class of its own
GUESSES = {
    "condition": ("condition", "diagnosis", "diagnostic", "diagnosis_1", "dx", "label", "disease", "class", "target"),
    "malignant": ("malignant", "benign_malignant", "is_malignant", "malignancy"),
    "fst": (
        "fst",
        "fitzpatrick",
        "fitspatrick",
        "fitzpatrick_scale",
        "fitzpatrick_skin_type",
        "skin_type",
        "skin_tone",
    ),
    "patient": ("patient_id", "patient", "subject_id", "subject", "pid"),
    "lesion": ("lesion_id", "lesion"),
}
Ask = Callable[[str], str]


def guess(frame: pd.DataFrame, images: Sequence[str]) -> dict[str, str]:
    """Columns that a person may mean, by role: the photograph's by how many of its values are files, others by name."""
    found = {}
    fits = {name: sum(path != "" for path in folder.match_rows(frame[name].tolist(), images)[0]) for name in frame}
    best = max(fits, key=lambda name: (fits[name], frame[name].nunique()))
    if fits[best]:
        found["image"] = best
    by_name = {re.sub(r"\W+", "_", name.lower()): name for name in frame}
    for role, names in GUESSES.items():
        known = [by_name[name] for name in names if name in by_name]
        found |= {role: known[0]} if known else {}

    return found


def ask_columns(frame: pd.DataFrame, given: Mapping[str, str], guessed: Mapping[str, str], ask: Ask) -> dict[str, str]:
    """A column for each role that is not given: Enter takes the guess, - says that there is none."""
    print("The table's columns: " + ", ".join(frame.columns))
    chosen = dict(given)
    for number, (role, words) in enumerate(folder.ROLES.items()):
        while role not in chosen:
            offer = guessed.get(role, "" if number < 2 else "-")
            answer = ask(f"Which column {words}?" + (f" [{offer}] " if offer else " ")).strip() or offer
            if answer == "-" and number >= 2:
                break
            if answer in frame:
                chosen[role] = answer
            else:
                print(f"  no column {answer!r}" + ("; - for none" if number >= 2 else "; this one is needed"))
    return chosen


def ask_conditions(values: pd.Series, malignant_asked: bool, ask: Ask) -> tuple[dict[str, str], list[str]]:
    """(value → name, for those that get another name; names of malignant conditions), asked value by value."""
    names: dict[str, str] = {}
    malignant = []
    print("Names stand in prompts and tables: words, not codes.")
    for value, count in values[values != ""].value_counts().items():
        name = ask(f"{value} ({count} rows) is called? [{value}] ").strip() or str(value)
        names |= {str(value): name} if name != value else {}
        if malignant_asked and ask(f"  is {name} malignant? y or n [n] ").strip().lower() in folder.YES:
            malignant.append(name)
    return names, list(dict.fromkeys(malignant))


def _checked_columns(file: Path, frame: pd.DataFrame, chosen: Mapping[str, str], guessed: Mapping[str, str]) -> None:
    for role, name in chosen.items():
        if name not in frame:
            raise ValueError(f"--{role}-column {name}: no such column in {file}; it has {', '.join(frame.columns)}")
    for role in list(folder.ROLES)[:2]:
        if role not in chosen:
            hint = f", perhaps --{role}-column {guessed[role]}" if role in guessed else ""
            raise ValueError(f"{file}: say which column {folder.ROLES[role]}{hint}; it has {', '.join(frame.columns)}")


def _choose(rows: pd.DataFrame, wanted: Sequence[str], at_least: int) -> tuple[list[str], list[str]]:
    """(classes, conditions that count in malignancy only), the most frequent first; says what is left out."""
    sizes = rows.loc[rows["condition"] != folder.NO_CONDITION, "condition"].value_counts()
    table.check_conditions(wanted, sizes.index, "--conditions")
    classes = list(wanted) or [name for name in sizes.index if sizes[name] >= at_least]
    if len(classes) < 2:
        raise ValueError(
            f"a study needs at least two conditions of {at_least} photographs; there are "
            + (", ".join(f"{name} {n}" for name, n in sizes.head(8).items()) or "none")
            + ". Bring more, or name the classes with --conditions"
        )
    rest = [name for name in sizes.index if name not in classes]
    extra = [] if wanted or rows["malignant"].nunique() < 2 else rest
    if out := [name for name in rest if name not in extra]:
        print("left out: " + ", ".join(f"{name} ({sizes[name]})" for name in out))
    if codes := [name for name in [*classes, *extra] if re.fullmatch(r"[A-Z0-9_]{1,5}", name)]:
        print(f"codes stand in prompts and tables as they are; words are better: --rename {codes[0]}='…'")
    return classes, extra


def init(
    name: str,
    images: Path,
    file: Path,
    columns: Mapping[str, str],
    names: Mapping[str, str],
    malignant: Sequence[str],
    like: str,
    conditions: Sequence[str] = (),
    at_least: int = AT_LEAST,
    encoding: str = "utf-8-sig",
    ask: Ask | None = None,
) -> Path:
    """Describe a data set of one's own and write a profile for it; returns the profile's folder.

    columns: role → column, of folder.ROLES. names: value of the condition column → name. malignant: names (or values)
    of malignant conditions. like: the profile whose design is followed. ask: a terminal's `input`, for what is not
    given. Nothing is written before all of it is checked. Raises FileNotFoundError or ValueError saying what to do.
    """
    place = _place(name)
    photographs = _photographs(images)
    frame, separator = folder.read_table(file, "", encoding)
    chosen, guessed = dict(columns), guess(frame, photographs)
    if {"image", "condition"} <= set(chosen):
        ask = None
    if ask:
        chosen = ask_columns(frame, chosen, guessed, ask)
    _checked_columns(file, frame, chosen, guessed)
    if ask and not names:
        names, more = ask_conditions(frame[chosen["condition"]], not malignant and "malignant" not in chosen, ask)
        malignant = [*malignant, *more]
    values = sorted(set(frame[chosen["condition"]]) - {""})
    table.check_conditions(list(names), values, "--rename")
    malignant = [names.get(value, value) for value in malignant]
    table.check_conditions(malignant, [names.get(value, value) for value in values], "--malignant")
    about = folder.Description(
        str(images.resolve()), str(file.resolve()), separator, encoding, chosen, dict(names), malignant
    )
    where = f"{chosen['image']} names a photograph below {images}"
    rows = _with_photograph(folder.rows(about), photographs, where)
    classes, extra = _choose(rows, [names.get(c, c) for c in conditions], at_least)
    rows = rows[rows["condition"].isin([*classes, *extra])].reset_index(drop=True)
    rows["malignancy_only"] = rows["condition"].isin(extra)
    like = like or ("pad_ufes_20" if paths.model_dir("taesd") else "demo")
    design_of = params.of_profile(like)
    declared = yaml.safe_load(paths.resolve(design_of["05_fairness_stats"]["hypotheses"]).read_text())
    every, hypotheses = design.study(name, rows, classes, extra, design_of, declared)
    head = "Where the photographs and the table of this data set lie, and what the table's columns mean."
    _write(place / "dataset.yml", head, about.json())
    written = profiles.write(name, every, f"Photographs of the data set {name}; the design follows the profile {like}.")
    _write(written / "hypotheses.yml", "What is tested; skinsyn/stats/hypotheses.py explains every key.", hypotheses)
    print(in_words(rows, every["01_data_prep"], every["04_training_grid"]))
    return written


def _place(name: str) -> Path:
    """The folder of the data set's description. Raises ValueError where a study of this name cannot be begun."""
    root = paths.project_root()
    place = Path(os.environ.get("SKINSYN_DATA") or root / "data").expanduser() / name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"{name!r}: a study's name has letters, digits and _, and begins with a letter")
    for taken in (root / "params" / name, root / "params" / f"{name}.yml", place):
        if taken.exists():
            raise ValueError(f"{taken} is there already; choose another name, or move it away")
    return place


def _photographs(images: Path) -> list[str]:
    """The files of photographs below a folder. Raises FileNotFoundError, or ValueError saying what it has instead."""
    if not images.is_dir():
        raise FileNotFoundError(f"--images {images}: no such folder")
    photographs = match.find_images(images)
    if not photographs:
        kinds = pd.Series([p.suffix.lower() or "(no suffix)" for p in images.rglob("*") if p.is_file()], dtype="str")
        counts = ", ".join(f"{n} {kind}" for kind, n in kinds.value_counts().items()) or "no file at all"
        raise ValueError(
            f"--images {images}: no photograph of {', '.join(match.SUFFIXES)}; it holds {counts}. Convert them"
        )
    return photographs


def _with_photograph(rows: pd.DataFrame, photographs: Sequence[str], what: str) -> pd.DataFrame:
    """The rows that have a photograph; says how many have none. Raises ValueError where none has."""
    files_, lonely = folder.match_rows(rows["file"], photographs)
    there = pd.Series(files_, index=rows.index) != ""
    print(f"{len(rows)} rows, {int(there.sum())} of them with a photograph; {len(lonely)} photographs without a row")
    if not there.any():
        raise ValueError(f"no row of {what}: e.g. {rows['file'][0]!r}, {photographs[0]!r}")
    return rows[there]


def _write(file: Path, head: str, content: Mapping) -> None:
    text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None, width=10**6)
    with files.atomic(file) as temporary:
        temporary.write_text(f"# {head}\n{text}")


def in_words(rows: pd.DataFrame, data: Mapping, grid: Mapping) -> str:
    """What the new profile will do, for a terminal."""
    sizes = rows["condition"].value_counts()
    known = int((rows["fst"] > 0).sum())
    patients = rows["patient_id"].replace("", None).nunique()
    lines = ["classes: " + ", ".join(f"{name} {sizes[name]}" for name in data["conditions"])]
    if data["malignancy_only"]:
        lines.append("in malignancy only: " + ", ".join(f"{name} {sizes[name]}" for name in data["malignancy_only"]))
    lines.append(
        f"skin type known for {known} of {len(rows)}" + ("; nothing can be said by skin type" if not known else "")
    )
    none = "not known: photographs of one patient may lie on both sides of a split, and the test be too easy"
    lines.append(f"patients: {patients or none}")

    test = data["test_per_condition"] or f"{data['test_fraction']:.0%} of the patients"
    lines.append(f"test: {test}; validation: {data['validation_per_condition']} of each; real images per class: "
                 + ", ".join(map(str, sorted(set(design.values_of(grid["arms"], "n"))))))  # fmt: skip
    lines.append("The files' names become image ids, in tables and in paper.html: they should not name people.")
    return "\n".join(lines)
