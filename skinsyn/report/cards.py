"""What goes with the paper for reviewers and users: the filled checklist, a model card, a data card, in Markdown."""

from collections.abc import Mapping
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from ..run import files, paths
from . import numbers, paper_tables
from .inference import Inference, parameters_on_record
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
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.globals.update(words)
    rows = []
    for name, items in yaml.safe_load((ASSETS / "checklist.yml").read_text()).items():
        for item in items:
            said = environment.from_string(str(item.get("filled", ""))).render()
            file = item.get("file")
            there = file is None or _noted(paths.figures_dir(profile) / file).exists()
            filled = bool(said) and there and numbers.NOT_RUN not in said
            parts = [f"{said} (`{file}`)" if file else said] if filled else []
            lost = [] if filled or not said else [f"not run here: {item['topic'].lower()}"]
            asked = [*lost, *([item["author"]] if "author" in item else [])]
            status = [*(["filled from the run"] if filled else []), *([AUTHOR] if asked or not filled else [])]
            parts += [f"{AUTHOR}: {'; '.join(asked)}"] if asked else []
            rows.append({"list": name, "item": item["item"], "topic": item["topic"], "where": ". ".join(parts)})
            rows[-1]["status"] = " + ".join(status)
    return pd.DataFrame(rows)


def write(profile: str, made_by: str, title: str) -> list[Path]:
    """Write <made_by>-checklist.md, -model_card.md and -data_card.md beside the figures. Same results, same bytes."""
    words = _words(profile, title)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    texts = {name: environment.get_template(f"{name}.md.j2").render(**words) for name in ("model_card", "data_card")}
    texts["checklist"] = _checklist_text(checklist(words, profile))
    made = []
    for name, text in texts.items():
        path = paths.figures_dir(profile) / f"{made_by}-{name}.md"
        with files.atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        files.log_access("write", path)
        made.append(path)
    return made


def _words(profile: str, title: str) -> dict:
    """What the templates may use: numbers of this run, its parameters, its tables as Markdown."""
    held, record = numbers.read(profile, before="09"), parameters_on_record(profile)
    images = paper_tables.optional(profile, "images")
    sources = [] if images is None else sorted(images["source"].astype(str).unique())
    drawn = _tables(profile)
    return {
        "profile": profile,
        "title": title,
        "phantom": any(source.startswith("phantom") for source in sources),
        "sources": ", ".join(sources) or numbers.NOT_RUN,
        "licence": " ".join(LICENCES.get(source, f"{source}: {AUTHOR}.") for source in sources) or f"{AUTHOR}.",
        "level": Inference.of_run(profile).percent,
        "agreement": _agreement(held),
        "v": lambda name, digits=2, sign=False: show(numbers.lookup(held, name), digits, sign, unit=True),
        "n": lambda name, digits=2, sign=False: show(
            numbers.lookup(held, name), digits, sign, unit=True, interval=True
        ),
        "parameter": lambda notebook, name: record.get(notebook, {}).get(name, numbers.NOT_RUN),
        "table": lambda name: drawn[name],
    }


def _agreement(held: Mapping[str, Mapping]) -> str:
    """What is known of the agreement of two annotators of skin type."""
    found = {
        name.rpartition(".")[2]: show(given, 3) for name, given in held.items() if name.startswith("data.annotators.")
    }
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items())
    return f"Two annotators of skin type: {said}." if said else "This data set has one statement of skin type an image."


def _tables(profile: str) -> dict[str, str]:
    """The cards' tables as Markdown."""
    read = {name: paper_tables.optional(profile, name) for name in ("table_one", "attrition", "accuracy_by_group")}
    read |= {name: paper_tables.optional(profile, name) for name in ("rates_by_group", "plain_words")}
    found = {name: f"{numbers.NOT_RUN}" for name in ("accuracy", "rates", "words", "table_one", "exclusions")}
    if (one := read["table_one"]) is not None:
        shares = one.assign(said=[_share(row) for row in one.to_dict("records")])
        rows = shares.pivot(index=["variable", "level"], columns="split", values="said").fillna("0")
        keep = list(dict.fromkeys(zip(one["variable"], one["level"], strict=True)))
        found["table_one"] = _markdown(rows.loc[keep, list(dict.fromkeys(one["split"]))].reset_index())
    if (left := read["attrition"]) is not None:
        counts = left.groupby(["stage", "reason"], sort=False, observed=True).size().rename("left out").reset_index()
        found["exclusions"] = _markdown(counts) if len(counts) else "Nothing was left out."
    if (accuracy := read["accuracy_by_group"]) is not None:
        found["accuracy"] = _intervals(accuracy[accuracy["images"] > 0], ["task", "group", "arm"], "accuracy")
    if (rates := read["rates_by_group"]) is not None and "arm" in rates:
        found["rates"] = _intervals(rates[rates["arm"] == "change"], ["group", "metric"], "estimate")
    if (words := read["plain_words"]) is not None:
        found["words"] = "\n".join(
            f"- **{_plain(r['result'])}.** {_plain(r['words'])}" for r in words.to_dict("records")
        )
    return found


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
    text = [f"# Checklist\n\n{head}. “{AUTHOR}” stands where judgement is called for.\n"]
    for name, rows in items.groupby("list", sort=False):
        shown = rows[["item", "topic", "status", "where"]]
        text.append(f"## After {name}\n\n{_markdown(shown)}\n")
    return "\n".join(text)


def _plain(value: object) -> str:
    """Text that Markdown reads as text: no table bars, no tags."""
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _noted(path: Path) -> Path:
    files.log_access("read", path)
    return path
