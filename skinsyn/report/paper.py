"""The typeset paper: one description of its content, drawn from saved results, as PDF (Typst) and as HTML."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import typst

from ..run import files, paths
from . import gallery, html, links, manuscript, numbers, paper_tables

__all__ = ["describe", "own_numbers", "results", "save_numbers", "typeset"]

TEMPLATE = Path(__file__).parents[1] / "assets" / "paper" / "paper.typ"
FORMATS = ("pdf", "html")


def results(profile: str) -> dict:
    """What the ledger is decided by: 'tests' (table of 05 or None) and 'synthetic' (number of images, or None)."""
    made = paper_tables.optional(profile, "synthetic")
    return {"tests": paper_tables.optional(profile, "tests"), "synthetic": None if made is None else len(made)}


def save_numbers(profile: str, made_by: str, ledger: pd.DataFrame) -> Path:
    """Save the paper's own numbers, and own the merged file: this notebook is the last that writes it."""
    merged = numbers.save(profile, made_by, own_numbers(profile, ledger))
    files.log_access("write", merged)
    return merged


def own_numbers(profile: str, ledger: pd.DataFrame) -> dict[str, dict]:
    """Numbers that the paper itself counts: images, generators, classifiers, and the ledger's estimates and verdicts."""
    read = {name: paper_tables.optional(profile, name) for name in ("images", "generators", "synthetic", "cells")}
    count: dict[str, tuple[int, str]] = {}
    if (images := read["images"]) is not None:
        images = images[images["split"].isin(paper_tables.SPLITS)]  # others were left over
        count |= {
            "images": len(images),
            "conditions": images["condition"].nunique(),
            "test": (images["split"] == "test").sum(),
        }
    if (generators := read["generators"]) is not None:
        count["generators"] = (generators["generator"] == "fine-tuned").sum()
    if read["synthetic"] is not None:
        count["synthetic"] = len(read["synthetic"])
    if (cells := read["cells"]) is not None:
        count |= {"classifiers": len(cells), "runs": cells["run"].nunique()}
    found = {f"paper.{name}": numbers.number(int(n)) for name, n in count.items()}
    for row in ledger.to_dict("records"):
        given = [None if pd.isna(row[key]) else row[key] for key in ("estimate", "low", "high")]
        claim = row["claim"][:2]
        given = [int(given[0]), None, None] if claim == "C7" and given[0] is not None else given
        unit = {"C6": "", "C7": "images"}.get(claim, "points")
        if row["verdict"] != numbers.NOT_RUN:
            found[f"ledger.{claim.lower()}"] = numbers.number(given[0], unit, *given[1:])
    for verdict in ("reproduced", "not reproduced", "not identified", "not run"):
        found[f"ledger.{verdict.replace(' ', '_')}"] = numbers.number(int((ledger["verdict"] == verdict).sum()), "")
    return found | {"ledger.claims": numbers.number(len(ledger), "")}


def describe(profile: str, ledger: pd.DataFrame, rules: Mapping[str, Mapping]) -> list[dict]:
    """The paper's blocks (see `manuscript.blocks`), from the tables, figures and numbers of this run."""
    saved = numbers.read(profile, before="09")
    images = paper_tables.optional(profile, "images")
    sources = [] if images is None else sorted(images["source"].astype(str).unique())
    verdicts = {claim[:2]: verdict for claim, verdict in zip(ledger["claim"], ledger["verdict"], strict=True)}
    words = manuscript.context(profile, saved, verdicts, sources)
    return manuscript.blocks(profile, words, paper_tables.maker(profile, ledger, rules, saved))


def typeset(
    profile: str,
    title: str,
    ledger: pd.DataFrame,
    rules: Mapping[str, Mapping],
    note: str = "",
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write figures/<profile>/paper.pdf and paper.html; the same results give the same bytes. Returns their paths.

    title, note: words of the title page. ledger: as saved. rules: the verdict rules, printed with the paper.
    What this run does not hold stands as 'not run'. Raises ValueError for an unknown format.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise ValueError(f"formats: {unknown[0]!r} is not one of {', '.join(FORMATS)}")
    files.log_access("read", TEMPLATE.parent)  # words and looks are inputs too
    blocks = describe(profile, ledger, rules)
    subtitle = " · ".join(part for part in (f"skinsyn, profile {profile}", note) if part)
    made = []
    for form in formats:
        target = paths.figures_dir(profile) / f"paper.{form}"
        with files.atomic(target) as temporary:
            if form == "html":
                temporary.write_text(html.render(title, subtitle, blocks, gallery.collect(profile)), encoding="utf-8")
            else:
                temporary.write_bytes(_pdf(profile, title, subtitle, blocks))
        files.log_access("write", target)
        made.append(target)
    return made


def _pdf(profile: str, title: str, subtitle: str, blocks: Sequence[dict]) -> bytes:
    """Compile in a folder of its own, which is all that Typst may read; fonts are those that it brings."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed = []
        for block in blocks:
            if block.get("file"):
                shutil.copyfile(block["file"], folder / block["file"].name)
                block = block | {"file": block["file"].name}
            listed.append(block)
        content = {"title": title, "subtitle": subtitle, "profile": profile, "blocks": listed}
        text = links.plain(json.dumps(content, ensure_ascii=False, allow_nan=False))
        (folder / "content.json").write_text(text, encoding="utf-8")
        shutil.copyfile(TEMPLATE, folder / "paper.typ")
        return typst.compile(folder / "paper.typ", root=folder, format="pdf", ignore_system_fonts=True, timestamp=0)
