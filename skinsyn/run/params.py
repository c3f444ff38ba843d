"""With what: parameter files of a profile, checked against the notebooks' parameters cells before a kernel starts.

A profile is a folder of complete files. A named variant of one is a file beside it, `params/demo-guidance7.yml`, that
shows only what differs: `of: demo`, then parameters as after `-p`. It runs and is kept under its own name.
"""

import difflib
import re
from pathlib import Path
from typing import Any

import yaml

from . import files, paths

__all__ = [
    "ParameterError",
    "declared",
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


TYPES = {"bool": bool, "int": int, "float": (float, int), "str": str, "list": list, "dict": dict}


def profiles() -> list[str]:
    """Names of the profiles under `params/`, and of their variants."""
    found = (paths.project_root() / "params").iterdir()
    return sorted(p.stem for p in found if p.suffix == ".yml" or (p / "common.yml").exists())


def notebooks() -> list[Path]:
    """The numbered notebooks in order, without 00, which makes nothing, and without JupyterLab's copies (`…-Copy1`)."""
    every = (paths.project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb")
    return sorted(p for p in every if not p.name.startswith("00") and "-" not in p.stem)


def declared(notebook: Path) -> dict[str, dict[str, str]]:
    """What the notebook's parameters cell declares: name → {type, default, help}.

    Raises ParameterError where a parameter has no type that papermill reads (bool, int, float, str, list, dict).
    """
    from papermill import inspect_notebook  # here: it takes seconds, and notebooks import this module

    found = {}
    for name, about in inspect_notebook(str(notebook)).items():
        if about["inferred_type_name"] not in TYPES:
            raise ParameterError(f"{notebook.name}: parameter {name!r} needs a type of {', '.join(TYPES)}")
        found[name] = {"type": about["inferred_type_name"], "default": about["default"], "help": about["help"]}
    if not found:
        raise ParameterError(f"{notebook.name}: no cell is tagged `parameters`")
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError as error:
        raise ParameterError(f"{file}: missing; every profile has common.yml and one file per notebook") from error
    except yaml.YAMLError as error:
        raise ParameterError(f"{file}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ParameterError(f"{file}: expected `key: value` lines, found {type(content).__name__}")
    return content


def _check(name: str, value: Any, known: dict[str, dict[str, str]], where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ParameterError(f"{where}: unknown parameter {name!r}; {hint}")
    kind = known[name]["type"]
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        hint = " (YAML reads 1e-4 as text: write 1.0e-4)" if kind == "float" and isinstance(value, str) else ""
        raise ParameterError(f"{where}: {name} = {value!r} is {type(value).__name__}, expected {kind}{hint}")


def _layers(profile: str) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """The complete profile that a name stands on, and what each variant on the way changes: (where it says so,
    changes)."""
    root, layers = paths.project_root() / "params", []
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


def for_notebook(profile: str, notebook: Path, changed: dict[str, Any] | None = None) -> dict[str, Any]:
    """The parameters of one notebook in one profile or variant: common.yml, the notebook's own file, then what is
    changed.

    Every key is checked against the parameters cell. A float given as an int becomes a float, so that 3 and 3.0 are
    one. Raises ParameterError. Changed keys that this notebook does not declare are left to the others (see
    `of_profile`).
    """
    base, layers = _layers(profile)
    known = declared(notebook)
    values: dict[str, Any] = {}
    for name in ("common", notebook.stem):
        for key, value in _read(paths.project_root() / "params" / base / f"{name}.yml").items():
            _check(key, value, known, f"params/{base}/{name}.yml")
            values[key] = value
    if layers and "profile" in values:
        values["profile"] = profile
    for where, changes in [*layers, ("-p ", changed or {})]:
        for given, value in changes.items():
            number, dot, rest = given.partition(".")
            key = rest if dot else given
            if key in known and (not dot or notebook.stem.startswith(number)):
                _check(key, value, known, f"{where}{given}={value}")
                values[key] = value
    lacking = sorted(set(known) - set(values))
    if lacking:
        raise ParameterError(f"params/{base}: {', '.join(lacking)} of {notebook.name} not given; profiles are complete")
    return {name: float(value) if known[name]["type"] == "float" else value for name, value in values.items()}


def of_profile(profile: str, changed: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Notebook stem → parameters, for all notebooks, all checked. Raises ParameterError, also where a change fits
    none."""
    every = notebooks()
    found = {notebook.stem: for_notebook(profile, notebook, changed) for notebook in every}
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
    return found


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
        raise ParameterError(f"the variant {full!r} changes nothing; give what differs, e.g. guidance_scale=7")
    if file.with_suffix("").exists():
        raise ParameterError(f"params/{full} is a profile of its own; choose another name for the variant")
    of_profile(profile, changed)
    text = yaml.safe_dump({"of": profile, **changed}, sort_keys=False, allow_unicode=True, default_flow_style=None)
    with files.atomic(file) as temporary:
        temporary.write_text(f"# A variant of the profile {profile}: only what differs.\n{text}")
    return full


def overrides(pairs: list[str]) -> dict[str, Any]:
    """`["guidance_scale=7", "03.batch_size=4"]` → values, read as YAML. Raises ParameterError without a `=`.

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
    notebook: Path, given: list[Path], changed: dict[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """(values, names left to the notebook's own defaults) of one notebook outside any profile; later files win.

    Raises ParameterError for a missing file, an unknown or a mistyped key.
    """
    known, values = declared(notebook), {}
    for where, content in [(str(file), _read(file)) for file in given] + [("-p", changed or {})]:
        for name, value in content.items():
            _check(name, value, known, where)
            values[name] = float(value) if known[name]["type"] == "float" else value
    return values, sorted(set(known) - set(values))
