"""What goes with the paper for reviewers and users: the filled checklist, a model card, a data card, in Markdown."""

from collections.abc import Mapping
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from ..run import files, paths
from . import manuscript, numbers, paper_tables
from .inference import parameters_on_record
from .links import plain
from .numbers import show

__all__ = ["AUTHOR", "checklist", "write"]

ASSETS = Path(__file__).parents[1] / "assets" / "cards"
AUTHOR = "needs author"
LICENCES = {
    "phantom": "Phantoms are made by this repository (MIT).",
    "pad_ufes_20": "PAD-UFES-20: CC BY 4.0.",
    "fitzpatrick17k": "Fitzpatrick 17k: annotations CC BY-NC-SA 3.0; the images belong to the atlases they come from.",
    "ddi": "Stanford DDI: its own terms, no redistribution.",
    "ham10000": "HAM10000: CC BY-NC 4.0.",
}


def checklist(words: Mapping, profile: str) -> pd.DataFrame:
    """The items of both lists: list, item, topic, where, status ('filled from the run', 'needs author', or both).

    words: of `_words`. An item whose file this run did not write, or whose numbers were not run, needs an author.
    """
    environment = _environment(words)
    rows = []
    for name, items in yaml.safe_load((ASSETS / "checklist.yml").read_text()).items():
        for item in items:
            text = plain(environment.from_string(str(item.get("filled", ""))).render())
            file = item.get("file")
            complete = bool(text) and numbers.NOT_RUN not in text and (file is None or _exists(profile, file))
            missing = [f"not run here: {item['topic'].lower()}"] if text and not complete else []
            requests = missing + ([item["author"]] if "author" in item else [])
            parts, status = [], []
            if complete:
                parts, status = [f"{text} (`{file}`)" if file else text], ["filled from the run"]
            parts += [f"{AUTHOR}: {'; '.join(requests)}"] if requests else []
            status += [AUTHOR] if requests or not complete else []
            row = {"list": name, "item": item["item"], "topic": item["topic"]}
            rows.append(row | {"where": ". ".join(parts), "status": " + ".join(status)})
    return pd.DataFrame(rows)


def write(profile: str, made_by: str, title: str) -> list[Path]:
    """Write <made_by>-checklist.md, -model_card.md and -data_card.md beside the figures. Same results, same bytes."""
    words = _words(profile, title)
    environment = _environment(words)
    texts = {name: environment.get_template(f"{name}.md.j2").render() for name in ("model_card", "data_card")}
    texts["checklist"] = _checklist_text(checklist(words, profile))
    written = []
    for name, text in texts.items():
        path = paths.figures_dir(profile) / f"{made_by}-{name}.md"
        with files.atomic(path) as temporary:
            temporary.write_text(plain(text), encoding="utf-8")
        files.log_access("write", path)
        written.append(path)
    return written


def _environment(words: Mapping) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    environment.globals.update(words)
    return environment


def _words(profile: str, title: str) -> dict:
    """What the templates may use: the words of the manuscript, the run's parameters, its tables as Markdown."""
    saved, record, cells = numbers.read(profile, before="09"), parameters_on_record(profile), _tables(profile)
    names = paper_tables.sources_of(profile)
    return manuscript.context(profile, saved, {}, names) | {
        "title": title,
        "licence": " ".join(LICENCES.get(name, f"{name}: {AUTHOR}.") for name in names) or f"{AUTHOR}.",
        "agreement": _agreement(saved),
        "parameter": lambda notebook, name: record.get(notebook, {}).get(name, numbers.NOT_RUN),
        "table": lambda name: cells[name],
    }


def _agreement(saved: Mapping[str, Mapping]) -> str:
    """What is known of the agreement of two annotators of skin type."""
    prefix = "data.annotators."
    values = {name.removeprefix(prefix): number for name, number in saved.items() if name.startswith(prefix)}
    text = ", ".join(f"{name.replace('_', ' ')} {show(number, 3)}" for name, number in values.items())
    return f"Two annotators of skin type: {text}." if text else "This data set has one skin-type label per image."


def _tables(profile: str) -> dict[str, str]:
    """The cards' tables as Markdown."""
    cards = dict.fromkeys(("accuracy", "rates", "words", "table_one", "exclusions"), numbers.NOT_RUN)
    if (one := paper_tables.optional(profile, "table_one")) is not None:
        shares = one.assign(text=[_share(row) for row in one.to_dict("records")])
        rows = shares.pivot(index=["variable", "level"], columns="split", values="text").fillna("0")
        order = list(dict.fromkeys(zip(one["variable"], one["level"], strict=True)))
        cards["table_one"] = _markdown(rows.loc[order, list(dict.fromkeys(one["split"]))].reset_index())
    if (attrition := paper_tables.optional(profile, "attrition")) is not None:
        counts = attrition.groupby(["stage", "reason"], sort=False, observed=True).size().rename("excluded")
        cards["exclusions"] = _markdown(counts.reset_index()) if len(counts) else "Nothing was excluded."
    if (accuracy := paper_tables.optional(profile, "accuracy_by_group")) is not None:
        cards["accuracy"] = _intervals(accuracy[accuracy["images"] > 0], ["task", "group", "arm"], "accuracy")
    rates = paper_tables.optional(profile, "rates_by_group")
    if rates is not None and "arm" in rates:
        cards["rates"] = _intervals(rates[rates["arm"] == "change"], ["group", "metric"], "estimate")
    summaries = [paper_tables.optional(profile, name) for name in ("summary", "description")]
    paragraphs = [row for summary in summaries if summary is not None for row in summary.to_dict("records")]
    if paragraphs:
        cards["words"] = "\n".join(f"- **{_plain(row['result'])}.** {_plain(row['words'])}" for row in paragraphs)
    return cards


def _share(row: Mapping) -> str:
    count = show(numbers.number(int(row["count"])))
    return count if pd.isna(row["share"]) else f"{count} ({show(numbers.number(100 * row['share']), 0)} %)"


def _intervals(frame: pd.DataFrame, keys: list[str], value: str) -> str:
    """Rows with an estimate and its interval, or the reason why there is none."""
    rows = []
    for row in frame.to_dict("records"):
        shown = "" if pd.isna(row[value]) else numbers.show_cells(row[value], row["low"], row["high"], 3)
        rows.append({key: row[key] for key in keys} | {value: shown, "images": int(row["images"])})
        rows[-1]["remark"] = row["flags"]
    return _markdown(pd.DataFrame(rows)) if rows else numbers.NOT_RUN


def _markdown(frame: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(map(_plain, frame.columns)) + " |", "|" + "---|" * frame.shape[1]]
    return "\n".join(lines + ["| " + " | ".join(map(_plain, row)) + " |" for row in frame.itertuples(index=False)])


def _checklist_text(items: pd.DataFrame) -> str:
    done = items["status"].str.startswith("filled").groupby(items["list"], sort=False).agg(["sum", "size"])
    head = "; ".join(
        f"{name}: {int(row['sum'])} of {int(row['size'])} items filled from the run" for name, row in done.iterrows()
    )
    text = [f"# Checklist\n\n{head}. “{AUTHOR}” marks what requires judgement.\n"]
    for name, rows in items.groupby("list", sort=False):
        shown = rows[["item", "topic", "status", "where"]]
        text.append(f"## After {name}\n\n{_markdown(shown)}\n")
    return "\n".join(text)


def _plain(value: object) -> str:
    """Text that Markdown reads as text: no table bars, no tags."""
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _exists(profile: str, name: str) -> bool:
    """Whether a file stands beside the figures; its absence is an input as well."""
    path = paths.figures_dir(profile) / name
    files.log_access("read", path)
    return path.exists()
