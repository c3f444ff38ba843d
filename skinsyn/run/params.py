"""Parameter files of a profile, checked against the notebooks' parameters cells before a kernel starts.

The common ground of all profiles is each notebook's own parameters cell, whose values are the demo's. A profile is a
folder of differences from it: `common.yml`, which names the profile, and `NN_name.yml` where that notebook's values
differ. A named variant of a profile is a file beside it, `params/demo-steps20.yml`: `of: demo`, then parameters as
after `-p`. It runs and is kept under its own name.
"""

import ast
import copy
import difflib
import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from . import files, paths, records

__all__ = [
    "ParameterError",
    "declared",
    "differences",
    "for_notebook",
    "notebooks",
    "of_files",
    "of_profile",
    "overrides",
    "profiles",
    "save_variant",
]


class ParameterError(ValueError):
    """A parameter is unknown, mistyped or of the wrong type; the message names the file, key and what was expected."""


REPEATED = 20  # values equal to the cells' that a profile may repeat; complete copies, the old form, repeat far more
TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "float": (float, int),
    "str": str,
    "list": list,
    "dict": dict,
}


def profiles() -> list[str]:
    """Names of the profiles under `params/`, and of their variants."""
    found = (paths.project_root() / "params").iterdir()
    return sorted(p.stem for p in found if p.suffix == ".yml" or (p / "common.yml").exists())


def notebooks() -> list[Path]:
    """The numbered notebooks in order, 05b after 05; without 00 and JupyterLab's copies (`…-Copy1`)."""
    every = (paths.project_root() / "notebooks").glob("[0-9][0-9]*_*.ipynb")
    return sorted(p for p in every if not p.name.startswith("00") and "-" not in p.stem)


def declared(notebook: Path) -> dict[str, dict[str, Any]]:
    """What the notebook's parameters cell declares: name → {type, default, help}.

    Raises ParameterError where a parameter has no type that papermill reads (bool, int, float, str, list, dict).
    """
    return copy.deepcopy(_declared(notebook, notebook.read_text()))


@functools.lru_cache(maxsize=64)
def _declared(notebook: Path, text: str) -> dict[str, dict[str, Any]]:
    from papermill import inspect_notebook  # here: it takes seconds, and notebooks import this module

    defaults = _defaults(notebook.name, text)
    parameters = {}
    for name, about in inspect_notebook(str(notebook)).items():
        if about["inferred_type_name"] not in TYPES:
            raise ParameterError(f"{notebook.name}: parameter {name!r} needs a type of {', '.join(TYPES)}")
        parameters[name] = {"type": about["inferred_type_name"], "default": defaults[name], "help": about["help"]}
    if not parameters:
        raise ParameterError(f"{notebook.name}: no cell is tagged `parameters`")
    return parameters


def _defaults(name: str, text: str) -> dict[str, Any]:
    """Name → value in the parameters cell. Raises ParameterError where a value is computed instead of written out."""
    cells = json.loads(text)["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    values = {}
    for line in ast.parse("\n".join(tagged)).body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value is not None:
            try:
                values[line.target.id] = ast.literal_eval(line.value)
            except ValueError as error:
                raise ParameterError(f"{name}: {line.target.id} is not a plain value") from error
    return values


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError as error:
        raise ParameterError(f"{file}: missing; no such file") from error
    except yaml.YAMLError as error:
        raise ParameterError(f"{file}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ParameterError(f"{file}: expected `key: value` lines, found {type(content).__name__}")
    return content


def _check(name: str, value: Any, known: dict[str, dict[str, str]], where: str) -> None:
    if name not in known:
        hint = records.nearest(name, known)
        if "hypotheses" in known and name in ("arms", "families", "sensitivity", "dose"):
            hint = "it stands in hypotheses.yml, the file that `hypotheses` names; see skinsyn/stats/hypotheses.py"
        raise ParameterError(f"{where}: unknown parameter {name!r}; {hint}")
    kind = known[name]["type"]
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        hint = " (YAML reads 1e-4 as text: write 1.0e-4)" if kind == "float" and isinstance(value, str) else ""
        raise ParameterError(f"{where}: {name} = {value!r} is {type(value).__name__}, expected {kind}{hint}")


def _layers(profile: str) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """The profile that a name stands on, and what each variant on the way changes: (where it says so, changes)."""
    root = paths.project_root() / "params"
    layers: list[tuple[str, dict[str, Any]]] = []
    name = profile
    while (file := root / f"{name}.yml").exists():
        content = _read(file)
        base = content.pop("of", None)
        if not isinstance(base, str) or base == name or len(layers) > 9:
            raise ParameterError(
                f"params/{name}.yml: of = {base!r}, expected the name of another profile, e.g. of: demo"
            )
        layers.insert(0, (f"params/{name}.yml: ", content))
        name = base
    if not (root / name / "common.yml").exists():
        near = difflib.get_close_matches(name, profiles(), n=1)
        raise ParameterError(
            f"no profile {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {profiles()}")
        )
    return name, layers


def differences(profile: str, notebook: Path) -> dict[str, dict[str, Any]]:
    """The values that a profile (no variant) gives one notebook, by file: {"common": …, stem: …}, each one checked.

    Raises ParameterError, also where common.yml does not name the profile.
    """
    folder, known = paths.project_root() / "params" / profile, declared(notebook)
    contents = {}
    for name in ("common", notebook.stem):
        file = folder / f"{name}.yml"
        contents[name] = _read(file) if name == "common" or file.exists() else {}
        for key, value in contents[name].items():
            _check(key, value, known, f"params/{profile}/{name}.yml")
    if "profile" in known and contents["common"].get("profile") != profile:
        stated = contents["common"].get("profile")
        raise ParameterError(f"params/{profile}/common.yml: profile = {stated!r}, expected profile: {profile}")
    return contents


def for_notebook(profile: str, notebook: Path, changed: dict[str, Any] | None = None) -> dict[str, Any]:
    """The parameters of one notebook in a profile or variant: its cell, common.yml, its own file, then what is changed.

    Every key is checked against the parameters cell. A float given as an int becomes a float, so that 3 and 3.0 are
    one. Raises ParameterError. Changed keys that this notebook does not declare are left to the others (see
    `of_profile`).
    """
    base, layers = _layers(profile)
    known = declared(notebook)
    values = {name: about["default"] for name, about in known.items()}
    for content in differences(base, notebook).values():
        values |= content
    if layers and "profile" in values:
        values["profile"] = profile
    for where, changes in [*layers, ("-p ", changed or {})]:
        for given, value in changes.items():
            number, dot, rest = given.partition(".")
            key = rest if dot else given
            if key in known and (not dot or notebook.stem.startswith(number)):
                _check(key, value, known, f"{where}{given}={value}")
                values[key] = value
    return {name: float(value) if known[name]["type"] == "float" else value for name, value in values.items()}


def _check_files(base: str, every: list[Path]) -> None:
    """Raises ParameterError for a numbered file that belongs to no notebook, and for a profile of complete files."""
    stems = [notebook.stem for notebook in every]
    for file in sorted((paths.project_root() / "params" / base).glob("[0-9]*.yml")):
        if file.stem not in stems:
            near = difflib.get_close_matches(file.stem, stems, n=1)
            hint = f"did you mean {near[0]}.yml?" if near else f"there are {', '.join(stems)}"
            raise ParameterError(f"params/{base}/{file.name}: no such notebook; {hint}")
    count = 0
    for notebook in every:
        known = declared(notebook)
        count += sum(
            value == known[key]["default"] for key, value in differences(base, notebook)[notebook.stem].items()
        )
    if count > REPEATED:
        raise ParameterError(
            f"params/{base} repeats {count} values of the notebooks' parameters cells; a profile holds only what "
            f"differs from them. Rewrite it: python -m skinsyn params {base} --rewrite"
        )


def of_profile(profile: str, changed: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Notebook stem → parameters, for all notebooks, all checked. Raises ParameterError, also where a change fits
    none."""
    every = notebooks()
    _check_files(_layers(profile)[0], every)
    resolved = {notebook.stem: for_notebook(profile, notebook, changed) for notebook in every}
    for where, changes in [*_layers(profile)[1], ("-p ", changed or {})]:
        for given, value in changes.items():
            number, dot, rest = str(given).partition(".")
            chosen = [notebook for notebook in every if not dot or notebook.stem.startswith(number)]
            if not chosen:
                raise ParameterError(
                    f"{where}{given}: no notebook {number}; there are {', '.join(n.stem for n in every)}"
                )
            known = {name: about for notebook in chosen for name, about in declared(notebook).items()}
            _check(rest if dot else given, value, known, f"{where}{given}")
    return resolved


def save_variant(profile: str, name: str, changed: dict[str, Any]) -> str:
    """Write what the variant `name` of a profile changes to params/<profile>-<name>.yml; returns <profile>-<name>.

    Without changes, the variant must be there already. Raises ParameterError for a name that is no name, a change that
    the notebooks do not know, and where the variant is there with other changes: what has been run under a name stays.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise ParameterError(f"the variant's name {name!r}: expected letters, digits and _")
    full = f"{profile}-{name}"
    file = paths.project_root() / "params" / f"{full}.yml"
    if file.exists():
        if changed and _read(file) != {"of": profile, **changed}:
            raise ParameterError(
                f"params/{file.name} is there and changes other parameters; choose another name, or edit that file"
            )
        return full
    if not changed:
        raise ParameterError(f"the variant {full!r} changes nothing; give what differs, e.g. sampling_steps=20")
    if file.with_suffix("").exists():
        raise ParameterError(f"params/{full} is a profile of its own; choose another name for the variant")
    of_profile(profile, changed)
    text = yaml.safe_dump({"of": profile, **changed}, sort_keys=False, allow_unicode=True, default_flow_style=None)
    with files.atomic(file) as temporary:
        temporary.write_text(f"# A variant of the profile {profile}: only what differs.\n{text}")
    return full


def overrides(pairs: list[str]) -> dict[str, Any]:
    """`["sampling_steps=20", "03.batch_size=4"]` → values, read as YAML. Raises ParameterError without a `=`.

    A name changes the parameter in every notebook that declares it, `NN.name` in one.
    """
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ParameterError(f"-p {pair}: expected key=value")
        found[name.strip()] = yaml.safe_load(text)
    return found


def of_files(
    stems: Sequence[str], given: list[Path], changed: dict[str, Any] | None = None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """(notebook stem → values, names left to the notebooks' own defaults) outside any profile; later files win.

    A value is given to every one of these notebooks that declares its name. Raises ParameterError for a missing file,
    an unknown or a mistyped key.
    """
    of_stem = {stem: declared(paths.project_root() / "notebooks" / f"{stem}.ipynb") for stem in stems}
    known = {name: about for parameters in of_stem.values() for name, about in parameters.items()}
    values = {}
    for where, content in [(str(file), _read(file)) for file in given] + [("-p", changed or {})]:
        for name, value in content.items():
            _check(name, value, known, where)
            values[name] = float(value) if known[name]["type"] == "float" else value
    resolved = {stem: {k: v for k, v in values.items() if k in parameters} for stem, parameters in of_stem.items()}
    return resolved, sorted(set(known) - set(values))
