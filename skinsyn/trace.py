"""`python -m skinsyn trace`: from a number of the paper down to images and seeds, and the command that makes it again.

The chain is read from what a run keeps: numbers with their recorded origins, tables, stamps and manifests.
"""

import difflib
import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from .classifier import grid
from .classifier.arms import Cell
from .report import numbers, paper_tables
from .run import files, params, paths, pipeline, store, tables
from .stats import estimands, predictions
from .stats.hypotheses import Hypotheses

__all__ = ["Traced", "again", "images_of", "in_words", "inputs", "trace", "trace_row"]

SHOWN = 3  # images that are named on the terminal, of each kind


class Row(NamedTuple):
    """The row that a number's origin names: table, place (from 0), values, and what is wrong ('': nothing)."""

    table: str
    place: int | None
    values: dict[str, Any]
    wrong: str


class Arm(NamedTuple):
    """The cells of one arm, one row per run, and which test images a hypothesis asks for ({}: all)."""

    cells: pd.DataFrame
    where: dict


class Traced(NamedTuple):
    """What is known of one number."""

    id: str
    run: str
    saved: dict[str, Any]  # as in numbers.json: value, ends, unit, origin
    row: Row | None  # None where a cell computed it
    inputs: list[tuple[str, str, list[str]]]  # of `inputs`
    arms: dict[str, Arm]  # name among the hypotheses, or `arm`
    images: pd.DataFrame  # of `images_of`
    settings: dict[str, Any]  # parameters of its notebook
    again: list[str]  # commands that make it again

    @property
    def notebook(self) -> str:
        """The stem of the notebook that saved it."""
        return str(self.saved["made_by"])


def trace(profile: str, name: str) -> Traced:
    """Follow one number of a run down to images and seeds.

    Raises ValueError for an unknown id with the nearest ones, FileNotFoundError for a run that was not made.
    """
    stamps = pipeline.stamps(profile)
    every = numbers.read(profile)
    if name not in every:
        near = difflib.get_close_matches(name, every, n=4, cutoff=0.3)
        hint = f"nearest: {', '.join(near)}" if near else f"they stand in {paths.figures_dir(profile) / 'numbers.json'}"
        raise ValueError(f"no number {name!r} in the run {profile!r}; {hint}")
    saved = every[name]
    row = trace_row(profile, saved)
    arms = _arms(profile, row, stamps) if row is not None else {}
    made_by = saved["made_by"]
    parameters = stamps.get(made_by, {}).get("parameters", {})
    return Traced(
        id=name,
        run=profile,
        saved=saved,
        row=row,
        inputs=inputs(profile, made_by, stamps),
        arms=arms,
        images=images_of(profile, made_by, row, arms, stamps),
        settings={key: value for key, value in parameters.items() if key != "profile"},
        again=again(profile, made_by, stamps),
    )


def trace_row(profile: str, saved: Mapping) -> Row | None:
    """The recorded row of a saved number, None where its cell computed it."""
    if saved["table"] is None:
        return None
    there = tables.path(profile, saved["table"]).exists()
    frame = tables.read(profile, saved["table"], saved["table_made_by"]) if there else None
    at = None if frame is None else numbers.place_of_row(frame, saved["row"])
    values = {} if frame is None or at is None else frame.iloc[at].to_dict()
    return Row(saved["table"], at, values, numbers.contradiction(saved, frame))


def inputs(profile: str, notebook: str, stamps: Mapping[str, Mapping]) -> list[tuple[str, str, list[str]]]:
    """(notebook, what it read, from which notebooks), from the number's own notebook back to the photographs."""
    makers = {path: stem for stem, stamp in stamps.items() for path in stamp["writes"]}
    chain: list[tuple[str, str, list[str]]] = []
    waiting = [notebook]
    while waiting:
        stem = waiting.pop(0)
        if any(stem == known for known, _, _ in chain):
            continue
        read = [path for path in stamps.get(stem, {}).get("reads", {}) if makers.get(path) != stem]
        before = sorted({makers[path] for path in read if path in makers}, reverse=True)
        what = sorted({Path(path).stem for path in read if path in makers and Path(path).suffix == ".parquet"})
        brought = [path for path in read if path not in makers and stem.startswith("01")]
        chain.append((stem, ", ".join(what + brought), before))
        waiting += before
    return sorted(chain, reverse=True)


def _arms(profile: str, row: Row, stamps: Mapping[str, Mapping]) -> dict[str, Arm]:
    """Name among the hypotheses (or `arm`) → arm; {} where a row stands for no arm."""
    if row.place is None or row.table not in ("tests", "learning_curves") or not tables.path(profile, "cells").exists():
        return {}
    trained = tables.read(profile, "cells", made_by="04_training_grid")
    if row.table == "learning_curves":
        return {"arm": Arm(trained[trained["arm"] == row.values["arm"]], {})}
    block = predictions.blocks(tables.read(profile, "predictions", made_by="04_training_grid", read_by="trace"))
    declared = Hypotheses.load(stamps["05_fairness_stats"]["parameters"]["hypotheses"])
    every = [m for h in declared.of_family(row.values["family"]) for m in estimands.spread(block, h, declared.arms)]
    one = next((h for h in every if h.id == row.values["id"]), None)
    if one is None:  # the file has changed since 05 ran
        return {}
    places = [("", one.where)] + ([(" against", {**one.where, **one.against})] if one.against else [])
    arms: dict[str, Arm] = {}
    for (_, name), (end, where) in itertools.product(one.terms, places):
        if estimands.was_run(block, declared.arms[name]):
            part = estimands.block_of(block, declared.arms[name])
            arm = part.arms["arm"].iloc[estimands.arm_of(part, declared.arms[name])]
            arms[name + end] = Arm(trained[trained["arm"] == arm], where)
    return arms


def images_of(
    profile: str, notebook: str, row: Row | None, arms: Mapping[str, Arm], stamps: Mapping[str, Mapping]
) -> pd.DataFrame:
    """Every image behind a number: role, arm, run, use, image_id, condition, path, parent, seed, generator_key, unit,
    row.

    Of a number of arms: what each classifier was trained on, validated on and tested on. Of a row of synthetic images:
    those and their sources. Otherwise all images that the run had when the notebook ran.
    """
    real = tables.read(profile, "images", made_by="01_data_prep")
    made = tables.read(profile, "synthetic", made_by="03_generation") if "03_generation" in stamps else None
    if arms:
        listed = pd.concat(_members(profile, arms, real, stamps), ignore_index=True)
    elif (
        row is not None
        and row.place is not None
        and row.table in ("distances", "recognition")
        and row.values["method"] != "real"
    ):
        asked = {key: row.values[key] for key in ("method", "generator", "scope") if key in row.values}
        mine = predictions.select(made, **asked)
        listed = pd.DataFrame({"image_id": [*mine["image_id"], *mine["parent"].drop_duplicates()], "use": "measured"})
    else:
        more = [] if made is None or notebook < "03" else made["image_id"]
        listed = pd.DataFrame({"image_id": [*real["image_id"], *more], "use": "of the run"})
    # Seeds have 63 bits: a detour through float would round them.
    seeds_ = real.assign(seed=pd.array([pd.NA] * len(real), dtype="Int64"))
    both = [seeds_] if made is None else [seeds_, made.astype({"seed": "Int64"})]
    facts = ["image_id", "condition", "path", "parent", "seed", "generator_key", "unit", "row"]
    about = pd.concat(both, ignore_index=True).reindex(columns=facts)
    return listed.reindex(columns=["role", "arm", "run", "use", "image_id"]).merge(about, on="image_id", how="left")


def _members(
    profile: str, arms: Mapping[str, Arm], real: pd.DataFrame, stamps: Mapping[str, Mapping]
) -> Iterator[pd.DataFrame]:
    """The images of each cell of each arm and what they were used for."""
    rows = {role: arm.cells.to_dict("records") for role, arm in arms.items()}
    cells = {role: [Cell.of_row(row) for row in part] for role, part in rows.items()}
    inputs_of_grid = grid.read_tables(profile, itertools.chain.from_iterable(cells.values()))
    flags = stamps["04_training_grid"]["parameters"]["use_flags"]
    for role, arm in arms.items():
        asked = predictions.select(real, **{key: value for key, value in arm.where.items() if key in real})["image_id"]
        for cell in cells[role]:
            training, validation, test = grid.members(cell, inputs_of_grid, flags)[:3]
            parts = {
                "trained on": training,
                "validated on": validation,
                "tested on": test[test["image_id"].isin(asked)],
            }
            for use, part in parts.items():
                yield part[["image_id"]].assign(role=role, arm=cell.arm, run=cell.run, use=use)


def again(profile: str, notebook: str, stamps: Mapping[str, Mapping]) -> list[str]:
    """Commands that make the number again: from kept tables, and from nothing in another place."""
    every = params.of_profile(profile)
    needed = sorted({stem for stem, _, _ in inputs(profile, notebook, stamps)} | {notebook})
    changed = []
    for stem in needed:
        for key, value in stamps.get(stem, {}).get("parameters", {}).items():
            if stem in every and every[stem].get(key) != value:
                text = yaml.safe_dump([value], default_flow_style=True, width=10**6).strip()[1:-1]
                changed += ["-p", shlex.quote(f"{_prefix(stem, every)}.{key}={text}")]
    call = " ".join(["python -m skinsyn run --profile", profile, *changed, "--only"])
    numbers_ = " ".join(_prefix(stem, every) for stem in needed)
    return [
        f"{call} {_prefix(notebook, every)} --force",
        f'SKINSYN_RUNS="$(mktemp -d)" SKINSYN_FIGURES="$(mktemp -d)" {call} {numbers_}',
    ]


def _prefix(stem: str, every: Iterable[str]) -> str:
    """The beginning of a notebook's name that names no other: 04, but 05_ beside 05b."""
    number = stem.partition("_")[0]
    return number if sum(other.startswith(number) for other in every) == 1 else f"{number}_"


def _seed_of(cell: Mapping) -> str:
    try:
        return str(store.manifest("cell", cell["key"])["about"]["parameters"]["seed"])
    except (FileNotFoundError, KeyError):
        return "not kept"


def in_words(traced: Traced) -> str:
    """The chain as text for a terminal."""
    profile, row, images = traced.run, traced.row, traced.images
    lines = [f"{traced.id} = {numbers.show(traced.saved, 4, interval=True, unit=True)}   (run {profile})", ""]
    lines.append(f"made by   notebooks/{traced.notebook}.ipynb, cell {traced.saved['cell']}")
    lines.append(f"as it ran {paths.run_dir(profile) / 'notebooks' / traced.notebook}.ipynb")
    at = f"row {row.place + 1} of {traced.saved['table_made_by']}-" if row and row.place is not None else ""
    lines.append(f"origin    {at}{paper_tables.origin_in_words(traced.saved)}")
    if row and row.wrong:
        lines.append(f"          WRONG: {row.wrong}")
    for number, (stem, what, before) in enumerate(traced.inputs):
        text = f"{stem} reads {what or 'nothing: it draws phantoms'}" + (
            f", made by {', '.join(before)}" if before else ""
        )
        lines.append(f"{'from' if not number else '':10}{text}")
    plain = {key: value for key, value in traced.settings.items() if not isinstance(value, dict | list)}
    lines.append(f"settings  {', '.join(f'{key} {value}' for key, value in plain.items())}")
    prefix = _prefix(traced.notebook, params.of_profile(profile))
    lines.append(f"          all: python -m skinsyn params --profile {profile} --only {prefix}")
    for role, arm in traced.arms.items():
        lines.append(f"{role:9} {arm.cells['arm'].iloc[0]}" + (f", tested where {arm.where}" if arm.where else ""))
        for one in arm.cells.to_dict("records"):
            sizes = f"{one['n_real']} real and {one['n_synthetic']} synthetic images"
            lines.append(f"          run {one['run']}: {sizes}, classifier cell/{one['key']}, seed {_seed_of(one)}")
    real, made = (images[images["parent"].isna() == is_real].drop_duplicates("image_id") for is_real in (True, False))
    lines.append(f"images    {len(real)} real, {len(made)} synthetic; every one of them: --images FILE.csv")
    lines += [f"          {r.image_id}: {r.path}, shard/{r.unit} row {r.row}" for r in real.head(SHOWN).itertuples()]
    for r in made.head(SHOWN).itertuples():
        maker = f"generator/{r.generator_key}" if r.generator_key else "the untouched base"
        lines.append(f"          {r.image_id}: from {r.parent} by {maker}, seed {r.seed}, shard/{r.unit} row {r.row}")
    return "\n".join([*lines, f"again     {traced.again[0]}", f"or from nothing: {traced.again[1]}"])


def save_images(traced: Traced, file: Path) -> None:
    """Write the images of a number as CSV."""
    with files.atomic(file) as temporary:
        traced.images.to_csv(temporary, index=False, lineterminator="\n")
