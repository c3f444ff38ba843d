"""Profiles as files: written as differences from the notebooks' parameters cells, or whole; old forms rewritten."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from . import files, params, paths

__all__ = ["description", "rewrite", "write", "write_whole"]


def _declared() -> dict[str, dict[str, dict[str, Any]]]:
    """Notebook → name → {type, default, help}; under `common` what every notebook declares."""
    known = {notebook.stem: params.declared(notebook) for notebook in params.notebooks()}
    first = next(iter(known.values()))
    return known | {"common": {name: first[name] for name in first if all(name in one for one in known.values())}}


def _split(every: Mapping[str, Mapping], known: Mapping[str, Mapping]) -> dict[str, dict[str, Any]]:
    """The parameters by file: in `common` what is declared and the same in every notebook, the rest by notebook."""
    first = next(iter(every.values()))
    common = {name: first[name] for name in known["common"] if all(one[name] == first[name] for one in every.values())}
    return {"common": common} | {
        stem: {name: value for name, value in values.items() if name not in common} for stem, values in every.items()
    }


def description(every: Mapping[str, Mapping]) -> str:
    """Every parameter of the notebooks, with its type, value and meaning, for a terminal."""
    known, lines = _declared(), []
    for stem, values in every.items():
        lines.append(f"\n{stem}")
        for name, value in values.items():
            lines += [f"  {name}: {known[stem][name]['type']} = {value!r}", f"      {known[stem][name]['help']}"]
    return "\n".join(lines)


def write(name: str, every: Mapping[str, Mapping], about: str) -> Path:
    """Write params/<name>/ from the parameters of all notebooks: what differs from their cells, each with its meaning.

    Raises ValueError where the profile does not read as it was written.
    """
    known, place = _declared(), paths.project_root() / "params" / name
    for stem, values in _split(every, known).items():
        defaults = {key: about["default"] for key, about in known[stem].items()}
        differing = {
            key: value for key, value in values.items() if repr(value) != repr(defaults[key]) or key == "profile"
        }
        if differing or stem == "common":
            _save(place / f"{stem}.yml", about, differing, {key: known[stem][key]["help"] for key in differing})
    if {stem: dict(values) for stem, values in every.items()} != params.of_profile(name):
        raise ValueError(f"params/{name} does not read as it was written; please report this")
    return place


def write_whole(profile: str, folder: Path, changed: dict[str, Any] | None = None) -> list[Path]:
    """Write every parameter of a profile or variant, with its type and meaning, as files for papermill's `-f`.

    Raises params.ParameterError, FileExistsError where a file is there already.
    """
    known = _declared()
    contents = _split(params.of_profile(profile, changed), known)
    written = [folder / f"{stem}.yml" for stem in contents]
    for file in written:
        if file.exists():
            raise FileExistsError(f"{file} is there already; give another folder")
    for file, (stem, values) in zip(written, contents.items(), strict=True):
        remarks = {key: f"{known[stem][key]['type']}: {known[stem][key]['help']}" for key in values}
        _save(file, f"Every parameter of {stem} in the profile {profile}.", values, remarks)
    return written


def rewrite(profile: str) -> tuple[int, int]:
    """Take out of a profile's files what repeats the notebooks' cells; comments beside the rest stay.

    Returns the numbers of values before and after. Raises params.ParameterError; then nothing is written.
    """
    known, folder = _declared(), paths.project_root() / "params" / profile
    contents: dict[str, dict[str, Any]] = {}
    for notebook in params.notebooks():
        contents |= params.differences(profile, notebook)
    texts, counts = {}, {}
    for stem, values in contents.items():
        every = [one for name, one in known.items() if stem in ("common", name)]
        kept = {
            key: value  # repr: within a list or dict, 3 and 3.0 are two
            for key, value in values.items()
            if key == "profile" or any(repr(value) != repr(one[key]["default"]) for one in every)
        }
        file = folder / f"{stem}.yml"
        texts[file] = _without(file.read_text(), set(values) - set(kept)) if kept else ""
        if (yaml.safe_load(texts[file]) or {}) != kept:
            raise params.ParameterError(
                f"{file}: cannot be rewritten line by line; write each key on a line of its own"
            )
        counts[stem] = (len(values), len(kept))
    for file, text in texts.items():
        if text:
            with files.atomic(file) as temporary:
                temporary.write_text(text)
        else:
            file.unlink(missing_ok=True)
    return sum(before for before, _ in counts.values()), sum(after for _, after in counts.values())


def _without(text: str, keys: set[str]) -> str:
    """The YAML text without the lines of these keys."""
    node, lines = yaml.compose(text), text.splitlines(keepends=True)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    starts = [key.start_mark.line for key, _ in pairs]
    blocks = ["".join(lines[start:end]) for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    kept = [block for (key, _), block in zip(pairs, blocks, strict=True) if key.value not in keys]
    return "".join([*lines[: starts[0] if starts else None], *kept])


def _save(file: Path, about: str, values: Mapping[str, Any], remarks: Mapping[str, str]) -> None:
    lines = [_block(f"{key}:", value, f"  # {remarks[key]}") for key, value in values.items()]
    with files.atomic(file) as temporary:
        temporary.write_text(f"# {about}\n" + "".join(lines))


def _block(head: str, value: object, remark: str = "", indent: str = "") -> str:
    """YAML of `head value`: on one line where it is short, otherwise one line per member."""
    flow = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6).strip()[
        1:-1
    ]
    if len(indent) + len(head) + len(flow) < 120 or not isinstance(value, dict | list) or not value:
        return f"{indent}{head} {flow}{remark}\n"
    deeper = indent + "  "
    if isinstance(value, dict):
        members = [_block(f"{yaml.safe_dump(key).splitlines()[0]}:", one, "", deeper) for key, one in value.items()]
        if head == "-":  # the first key stands beside the dash
            return f"{indent}- {members[0].lstrip()}" + "".join(members[1:])
    else:
        members = [_block("-", one, "", deeper) for one in value]
    return f"{indent}{head}{remark}\n" + "".join(members)
