"""With what: parameter files of a profile, checked against the notebooks' parameters cells before a kernel starts."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from papermill import inspect_notebook

from . import paths

__all__ = ["ParameterError", "declared", "for_notebook", "notebooks", "of_profile", "overrides", "profiles"]


class ParameterError(ValueError):
    """A parameter is unknown, mistyped or of the wrong type; the message names the file, key and what was expected."""


TYPES = {"bool": bool, "int": int, "float": (float, int), "str": str, "list": list, "dict": dict}


def profiles() -> list[str]:
    """Names of the profiles under `params/`."""
    return sorted(p.name for p in (paths.project_root() / "params").iterdir() if (p / "common.yml").exists())


def notebooks() -> list[Path]:
    """The numbered notebooks in order, without 00, which makes nothing, and without JupyterLab's copies (`…-Copy1`)."""
    every = (paths.project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb")
    return sorted(p for p in every if not p.name.startswith("00") and "-" not in p.stem)


def declared(notebook: Path) -> dict[str, dict[str, str]]:
    """What the notebook's parameters cell declares: name → {type, default, help}.

    Raises ParameterError where a parameter has no type that papermill reads (bool, int, float, str, list, dict).
    """
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


def for_notebook(profile: str, notebook: Path, changed: dict[str, Any] | None = None) -> dict[str, Any]:
    """The parameters of one notebook in one profile: common.yml, then the notebook's own file, then `changed`.

    Every key is checked against the parameters cell. A float given as an int becomes a float, so that 3 and 3.0 are one.
    Raises ParameterError. Keys of `changed` that this notebook does not declare are left to the others (see `of_profile`).
    """
    folder = paths.project_root() / "params" / profile
    if not (folder / "common.yml").exists():
        near = difflib.get_close_matches(profile, profiles(), n=1)
        raise ParameterError(
            f"no profile {profile!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {profiles()}")
        )
    known = declared(notebook)
    values: dict[str, Any] = {}
    for file in (folder / "common.yml", folder / f"{notebook.stem}.yml"):
        for name, value in _read(file).items():
            _check(name, value, known, f"params/{profile}/{file.name}")
            values[name] = value
    for given, value in (changed or {}).items():
        number, dot, rest = given.partition(".")
        name = rest if dot else given
        if name in known and (not dot or notebook.stem.startswith(number)):
            _check(name, value, known, f"-p {given}={value}")
            values[name] = value
    lacking = sorted(set(known) - set(values))
    if lacking:
        raise ParameterError(f"params/{profile}: {', '.join(lacking)} of {notebook.name} not given; profiles are complete")
    return {name: float(value) if known[name]["type"] == "float" else value for name, value in values.items()}


def of_profile(profile: str, changed: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Notebook stem → parameters, for all notebooks, all checked. Raises ParameterError, also where `changed` fits none."""
    every = notebooks()
    found = {notebook.stem: for_notebook(profile, notebook, changed) for notebook in every}
    for given, value in (changed or {}).items():
        number, dot, rest = given.partition(".")
        chosen = [notebook for notebook in every if not dot or notebook.stem.startswith(number)]
        if not chosen:
            raise ParameterError(f"-p {given}: no notebook {number}; there are {', '.join(n.stem for n in every)}")
        known = {name: about for notebook in chosen for name, about in declared(notebook).items()}
        _check(rest if dot else given, value, known, f"-p {given}={value}")
    return found


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
