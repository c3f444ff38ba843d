"""Our shards as a Hugging Face dataset folder: WebDataset tars named as the study's authors name theirs, and a dataset
card.

`archive.scan` reads the folder again; so do `datasets.load_dataset(folder)` and the `webdataset` package.
"""

import io
import json
import tarfile
from pathlib import Path

import jinja2
import pandas as pd

from skinsyn import images
from skinsyn.run import files, store

from .archive import KINDS, SUBMETHODS

__all__ = ["PHANTOMS", "card", "write"]

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
FAMILY = {"in-then-outpaint": "inpaint"}  # method → the authors' word for its model
THEIR_KINDS = {ours: theirs for theirs, ours in KINDS.items()}
THEIR_METHODS = {ours: theirs for theirs, ours in SUBMETHODS.items()}
PHANTOMS = (
    "**The real images behind these are phantoms, drawn patterns: the set shows nothing about patients or diseases.**"
)
CARD = Path(__file__).parents[1] / "assets" / "dataset" / "card.md.j2"


def write(synthetic: pd.DataFrame, folder: Path, license: str, note: str = "") -> list[Path]:
    """Write `data/shard-*.tar` and `README.md` into a new or empty folder; returns the files.

    synthetic: the table of 03 (image_id, unit, row and the columns of generated shards). Every picture keeps its bytes;
    beside it lies `<image_id>.json` with all that the table says, under the authors' names, too. One set of shards for
    a condition, kind and method, up to 1,000 pictures each. license: a Hugging Face licence id, e.g. `cc-by-4.0`. note:
    for the card. Byte-stable. Raises FileExistsError where the folder holds anything, ValueError where the table is
    empty or a unit damaged.
    """
    if synthetic.empty:
        raise ValueError("no synthetic image to export: run 03_generation first")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: name a new folder, as nothing is overwritten")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    made = []
    rows = synthetic.assign(label=synthetic["condition"].where(synthetic["scope"] != "all", "all"))
    for (label, generator, method), part in rows.groupby(["label", "generator", "method"], sort=True):
        words = [label.replace(" ", "-").replace("_", "-"), *_words(generator, method)]
        part = part.sort_values(["replicate", "image_id"])
        for index, start in enumerate(range(0, len(part), images.SHARD_IMAGES)):
            file = folder / "data" / f"shard-{'-'.join(words)}-{index:05d}.tar"
            _write_tar(file, part.iloc[start : start + images.SHARD_IMAGES], words)
            made.append(file)
    text = folder / "README.md"
    text.write_text(card(synthetic, license, note))
    files.sync(text)
    return [*made, text]


def _words(generator: str, method: str) -> list[str]:
    """The authors' words for kind, method and submethod."""
    return [THEIR_KINDS[generator], FAMILY.get(method, method), THEIR_METHODS[method]]


def _write_tar(file: Path, rows: pd.DataFrame, words: list[str]) -> None:
    held = {unit: _members(unit) for unit in sorted(rows["unit"].unique())}
    with files.atomic(file) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
        for row in rows.drop(columns="row").to_dict("records"):
            content = held[row.pop("unit")][row["image_id"]]
            theirs = {
                "name": f"{row['image_id']}.webp",
                "md5hash": row["parent"],
                "submethod": words[3],
                "label": words[0],
            }
            theirs |= {"method": f"{words[1]}_{words[2].replace('-', '_')}", "tag": "generations1"}
            about = {**row, **theirs, "generation_num": f"{row['replicate']:02d}", "our_method": row["method"]}
            for suffix, data in (("webp", content), ("json", json.dumps(about, sort_keys=True).encode())):
                member = tarfile.TarInfo(f"{row['image_id']}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def _members(unit: str) -> dict[str, bytes]:
    """The encoded pictures of a kept shard by image id. Raises ValueError where it is damaged."""
    with tarfile.open(store.folder("shard", unit) / "images.tar") as tar:
        contents = {member.name.removesuffix(".webp"): tar.extractfile(member) for member in tar}
        return {name: content.read() for name, content in contents.items() if content}


def card(synthetic: pd.DataFrame, license: str, note: str = "") -> str:
    """The dataset card: YAML for the hub, then what is in the set, how it was made, and its limits, in Markdown."""
    groups = [_words(*group) for group, _ in synthetic.groupby(["generator", "method"], sort=True)]
    index = "[0-9]" * 5
    configs = [{"name": f"{w[0]}-{w[2]}", "files": f"data/shard-*-{'-'.join(w)}-{index}.tar"} for w in groups]
    counts = synthetic.groupby(["condition", "generator", "method"], as_index=False).agg(
        images=("image_id", "size"), sources=("parent", "nunique"), flagged=("flags", lambda f: int((f != "").sum()))
    )
    flags = synthetic.loc[synthetic["flags"] != "", "flags"].value_counts().sort_index()
    template = jinja2.Template(CARD.read_text(), undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return template.render(
        license=license,
        size=next((name for most, name in SIZES if len(synthetic) < most), "n>10M"),
        configs=configs,
        note=note,
        images=len(synthetic),
        conditions=synthetic["condition"].nunique(),
        sources=synthetic["parent"].nunique(),
        flags=", ".join(f"{name} {count}" for name, count in flags.items()),
        counts=counts.to_numpy().tolist(),
    )
