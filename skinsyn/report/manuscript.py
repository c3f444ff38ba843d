"""From the manuscript to blocks: one description of the paper that the PDF and the HTML are both made of.

Structure comes from the manuscript's YAML, words from jinja2 inside each block, so that data (a condition's name, a
file's reason) can become text and never structure.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ..run import files, paths
from . import declarations, numbers, paper_tables, words
from .inference import Inference
from .links import mark, plain
from .numbers import NOT_RUN

__all__ = ["MANUSCRIPT", "blocks", "context", "figure_files"]

MANUSCRIPT = Path(__file__).parents[1] / "assets" / "paper" / "manuscript.yml"
SOURCES = {
    "phantom": "phantoms",
    "pad_ufes_20": "PAD-UFES-20",
    "fitzpatrick17k": "Fitzpatrick 17k",
    "ddi": "Stanford DDI",
    "ham10000": "HAM10000",
}
KINDS = ("heading", "text", "note", "list", "table", "figure", "figures", "gallery")


def context(
    profile: str, saved: Mapping[str, dict], verdicts: Mapping[str, Mapping], sources: Sequence[str]
) -> dict[str, Any]:
    """What the manuscript's words may use: numbers by id, verdicts by claim (rows of the ledger), and facts about the
    run."""

    def written(write: Callable[..., str], **options: Any) -> Callable[..., str]:
        """A function of an id, and of what `write` takes besides a number: the text of that number, marked."""

        def text(name: str, *formats: Any, **more: Any) -> str:
            shown = write(numbers.lookup(saved, name), *formats, **options, **more)
            return mark(name, shown) if name in saved else shown

        return text

    return {
        "profile": profile,
        "sources": ", ".join(SOURCES.get(source, source) for source in sources) or NOT_RUN,
        "phantom": any(source.startswith("phantom") for source in sources),
        "pad": any(source.startswith("pad_ufes_20") for source in sources),
        "level": Inference.of_run(profile).percent,
        "scope": _scope(profile),
        "declaration": declarations.of_run(profile),
        "v": written(numbers.show, unit=True),
        "n": written(numbers.show, unit=True, interval=True),
        "bare": lambda name, digits=2, interval=False: written(numbers.show)(name, digits, interval=interval),
        "percent": written(percent),
        "shift": written(shift),
        "p": written(lambda number: numbers.equals_p(number["value"]) if number else NOT_RUN),
        "estimated": lambda name: (numbers.lookup(saved, name) or {}).get("value") is not None,
        "verdict": lambda claim, which="direction": verdicts[claim][which] if claim in verdicts else NOT_RUN,
        "has": lambda notebook: bool(figure_files(profile, notebook)),
    }


def _scope(profile: str) -> str:
    """For what the primary result holds, in words that begin a clause (see `stats.variation`)."""
    tests = paper_tables.optional(profile, "tests")
    scope = "" if tests is None or "scope" not in tests else str(tests["scope"].iloc[0])
    scope = scope or words.SCOPE
    return scope[0].lower() + scope[1:]


def percent(saved: Mapping | None, digits: int = 0) -> str:
    """A saved proportion as a percentage.

    >>> percent(numbers.number(0.125, "", 0.05, 0.2), 1)
    '12.5 % (5.0 to 20.0)'
    """
    if saved is None or saved["value"] is None:
        return numbers.show(saved)
    parts = (saved[key] for key in ("value", "low", "high"))
    value, low, high = (None if part is None else float(Decimal(repr(part)) * 100) for part in parts)
    return numbers.show(numbers.number(value, "%", low, high), digits, interval=True, unit=True)


def shift(saved: Mapping | None, up: str, down: str, digits: int = 1) -> str:
    """A saved difference in degrees in words: `up` says what is above zero, `down` what is below.

    >>> shift(numbers.number(-1.0, "degrees", -2.5, 0.5), "lighter", "darker")
    'darker by 1.0° (2.5° darker to 0.5° lighter)'
    """
    if saved is None or saved["value"] is None:
        return numbers.show(saved)
    ends = [saved[key] for key in ("value", "low", "high") if saved[key] is not None]
    sizes = [f"{numbers.show(numbers.number(abs(end)), digits)}°" for end in ends]
    (side, *sides), (size, *others) = [up if end > 0 else down for end in ends], sizes
    interval = " to ".join(f"{size} {side}" for size, side in zip(others, sides, strict=True))
    return f"{side} by {size}" + (f" ({interval})" if interval else "")


def figure_files(profile: str, notebook: str) -> list[Path]:
    """The SVG figures of a notebook, sorted by name."""
    return sorted(paths.figures_dir(profile).glob(f"{notebook}-*.svg"))


def blocks(profile: str, words: Mapping, table: Callable[[str], dict], source: Path = MANUSCRIPT) -> list[dict]:
    """The manuscript with every word, table and figure filled in.

    words: from `context`. table: name → {head, rows, widths} or {missing: reason}. Blocks have `kind` and, by it: text;
    items; file (a Path, None where it is not run), alt, caption, number; head, rows, widths, caption, number, missing.
    Raises ValueError for a block of no known kind.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.globals.update(words)
    contents = yaml.safe_load(source.read_text())
    placed = {block["figure"] for block in contents if "figure" in block}
    filled: list[dict] = []
    count = {"figure": 0, "table": 0}

    def fill(text: str) -> str:
        return " ".join(environment.from_string(str(text)).render().split())

    def add(kind: str, **fields: Any) -> None:
        if kind in count:
            count[kind] += 1
            fields["number"] = count[kind]
        filled.append({"kind": kind, **fields})

    for block in contents:
        kind = next((kind for kind in KINDS if kind in block), None)
        if kind is None:
            raise ValueError(f"{source.name}: a block with {sorted(block)} is none of {', '.join(KINDS)}")
        if "when" in block and not environment.compile_expression(block["when"])():
            continue
        if kind == "list":
            add(kind, items=[fill(item) for item in block[kind]])
        elif kind == "table":
            add(kind, **table(block[kind]), caption=plain(fill(block["caption"])))
        elif kind == "figure":
            add(kind, stem=block[kind], caption=plain(fill(block["caption"])), **_figure(profile, block[kind]))
        elif kind == "figures":
            for file in figure_files(profile, block[kind]):
                if file.stem not in placed:
                    add("figure", stem=file.stem, caption=_caption(file.stem), **_figure(profile, file.stem))
        else:
            add(kind, text=fill(block[kind]))
    return filled


def _figure(profile: str, stem: str) -> dict:
    """The figure's file, None where it is not run, and its alternative text; that it is read, or absent, is noted."""
    file = paths.figures_dir(profile) / f"{stem}.svg"
    files.log_access("read", file)
    return {"file": file if file.exists() else None, "alt": _caption(stem, "alt")}


@cache
def _words() -> dict[str, dict[str, str]]:
    """What a figure shows → its caption and alternative text."""
    return yaml.safe_load((MANUSCRIPT.parent / "figures.yml").read_text())


def _caption(stem: str, part: str = "caption") -> str:
    """Caption or alternative text (`alt`) of a figure: the known words, or those of its file's name."""
    notebook, _, what = stem.partition("-")
    what = what.replace("-", "_")
    of_name = f"{what.replace('_', ' ').capitalize()}."
    if part == "alt":
        of_name = f"Figure of {what.replace('_', ' ')}, drawn by {notebook}."
    return _words().get(what, {}).get(part) or of_name
