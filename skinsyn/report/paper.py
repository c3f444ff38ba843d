"""The typeset paper: one description of its content, drawn from saved results, as PDF (Typst) and as HTML."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import typst

from ..run import files, paths
from . import gallery, html, links, manuscript, numbers, paper_tables
from .claims import Claim
from .inference import Inference
from .rules import AtLeast, Evidence, HypothesisRule
from .verdicts import DIRECTIONS

__all__ = ["describe", "evidence", "own_numbers", "save_numbers", "typeset"]

TEMPLATE = Path(__file__).parents[1] / "assets" / "paper" / "paper.typ"
FORMATS = ("pdf", "html")


def evidence(profile: str, before: str) -> Evidence:
    """What the ledger of a run is decided by. before: the notebook that asks, whose own numbers are no evidence."""
    images = paper_tables.optional(profile, "synthetic")
    saved = numbers.read(profile, before=before)
    tests, count = paper_tables.optional(profile, "tests"), None if images is None else len(images)
    sources = tuple(paper_tables.sources_of(profile))
    by_n = paper_tables.optional(profile, "gain_by_n")
    last = None if by_n is None or by_n.empty else by_n[["estimate", "low", "high"]].iloc[-1]
    largest = None if last is None else (float(last["estimate"]), float(last["low"]), float(last["high"]))
    return Evidence(tests, saved, count, Inference.of_run(profile), sources, largest)


def save_numbers(origin: numbers.Origin, ledger: pd.DataFrame, claims: Sequence[Claim]) -> Path:
    """Save the paper's own numbers, and own the merged file: this notebook is the last that writes it."""
    merged = numbers.save(origin.profile, origin.notebook, own_numbers(origin, ledger, claims))
    files.log_access("write", merged)
    return merged


def own_numbers(origin: numbers.Origin, ledger: pd.DataFrame, claims: Sequence[Claim]) -> dict[str, dict]:
    """Numbers that the paper itself counts: images, generators, classifiers, and the ledger's estimates and verdicts.

    origin: the cell that saves them. An estimate's origin is the row of tests or distances that its claim rests on.
    """
    count: dict[str, int] = {}
    if (images := paper_tables.optional(origin.profile, "images")) is not None:
        images = images[images["split"].isin(paper_tables.SPLITS)]  # others were left over
        count |= {"images": len(images), "conditions": images["condition"].nunique()}
        count["test"] = int((images["split"] == "test").sum())
    if (generators := paper_tables.optional(origin.profile, "generators")) is not None:
        count["generators"] = int((generators["generator"] == "fine-tuned").sum())
    if (synthetic := paper_tables.optional(origin.profile, "synthetic")) is not None:
        count["synthetic"] = len(synthetic)
    if (cells := paper_tables.optional(origin.profile, "cells")) is not None:
        count |= {"classifiers": len(cells), "runs": cells["run"].nunique()}
    own = {f"paper.{name}": origin.computed(number) for name, number in count.items()}
    for claim, row in zip(claims, ledger.to_dict("records"), strict=True):
        if row["direction"] != numbers.NOT_RUN:
            own |= _of_claim(origin, claim, row["estimate"])
    for verdict in DIRECTIONS:
        own[f"ledger.{verdict.replace(' ', '_')}"] = origin.computed(int((ledger["direction"] == verdict).sum()))
    return own | {"ledger.claims": origin.computed(len(ledger))}


def _of_claim(origin: numbers.Origin, claim: Claim, estimate: float) -> dict[str, dict]:
    """The estimate of a claim that was run with its adjusted interval; of a one-sided test also the bound, and the
    number of real images per class where its arms have one."""
    name = f"ledger.{claim.id.lower()}"
    if isinstance(claim.rule, HypothesisRule):
        shown = claim.rule.shown(paper_tables.optional(origin.profile, "tests"), claim.task)
        where, made_by = {key: shown[key] for key in ("family", "id")}, paper_tables.MADE_BY["tests"]
        ends = ("low_adjusted", "high_adjusted")
        own = {name: origin.from_row("tests", where, "estimate", "points", *ends, made_by)}
        if shown["alternative"] == "less":
            own[f"{name}.bound"] = origin.from_row("tests", where, "high_adjusted", "points", made_by=made_by)
        if shown["n"].isdigit():
            own[f"{name}.n"] = origin.computed(int(shown["n"]))
        return own
    if isinstance(claim.rule, AtLeast):
        return {name: origin.computed(int(estimate), "images")}
    saved = numbers.read(origin.profile, before=origin.notebook).get("c6.difference")
    if saved is None:
        return {name: origin.computed(estimate)}
    row, column, made_by = (saved[key] for key in ("row", "column", "table_made_by"))
    return {name: origin.from_row("distances", row, column, "", "low", "high", made_by)}


def describe(profile: str, ledger: pd.DataFrame, claims: Sequence[Claim]) -> list[dict]:
    """The paper's blocks (see `manuscript.blocks`), from the tables, figures and numbers of this run."""
    saved = numbers.read(profile, before="09")
    verdicts = {row["claim"][:2]: row for row in ledger.to_dict("records")}
    words = manuscript.context(profile, saved, verdicts, paper_tables.sources_of(profile))
    return manuscript.blocks(profile, words, paper_tables.maker(profile, ledger, claims, saved))


def typeset(
    profile: str,
    title: str,
    ledger: pd.DataFrame,
    claims: Sequence[Claim],
    note: str = "",
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write figures/<profile>/paper.pdf and paper.html; the same results give the same bytes. Returns their paths.

    title, note: words of the title page. ledger: as saved. claims: with their rules, which the paper prints.
    What this run does not hold stands as 'not run'. Raises ValueError for an unknown format.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise ValueError(f"formats: {unknown[0]!r} is not one of {', '.join(FORMATS)}")
    files.log_access("read", TEMPLATE.parent)  # words and looks are inputs too
    blocks = describe(profile, ledger, claims)
    subtitle = " · ".join(part for part in (f"skinsyn, profile {profile}", note) if part)
    written = []
    for form in formats:
        target = paths.figures_dir(profile) / f"paper.{form}"
        with files.atomic(target) as temporary:
            if form == "html":
                temporary.write_text(html.render(title, subtitle, blocks, gallery.collect(profile)), encoding="utf-8")
            else:
                temporary.write_bytes(_pdf(profile, title, subtitle, blocks))
        files.log_access("write", target)
        written.append(target)
    return written


def _pdf(profile: str, title: str, subtitle: str, blocks: Sequence[dict]) -> bytes:
    """Compile in a folder of its own, which is all that Typst may read; fonts are those that it brings."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for figure in (block["file"] for block in blocks if block.get("file")):
            shutil.copyfile(figure, folder / figure.name)
        relative = [block | {"file": block["file"].name} if block.get("file") else block for block in blocks]
        content = {"title": title, "subtitle": subtitle, "profile": profile, "blocks": relative}
        text = links.plain(json.dumps(content, ensure_ascii=False, allow_nan=False))
        (folder / "content.json").write_text(text, encoding="utf-8")
        shutil.copyfile(TEMPLATE, folder / "paper.typ")
        return typst.compile(folder / "paper.typ", root=folder, format="pdf", ignore_system_fonts=True, timestamp=0)
