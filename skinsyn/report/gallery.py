"""The gallery of paper.html: some of the synthetic images, each with its source, seed, model and parameters."""

import base64
import io
import json
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from PIL import Image

from skinsyn import images
from skinsyn.diffusion.settings import Sampling
from skinsyn.run import seeds, store
from skinsyn.stats.predictions import GROUPS

from . import paper_tables
from .manuscript import SOURCES
from .numbers import NOT_RUN

__all__ = ["LIMIT", "collect", "pick", "webp"]

LIMIT = 108  # images on the page, which is committed and opened on telephones
SIDE = 96  # pixels a side at most; lossy WebP, for looking only
QUALITY = 80
NEEDED = (
    "image_id", "parent", "condition", "fst", "fst_group", "method", "generator", "generator_key", "scope", "replicate",
    "seed", "flags", "made_again", "prompt", "unit", "row",
)  # fmt: skip
LEARNED = ("batch_size", "learning_rate", "accumulation", "dtype", "seed")


def pick(synthetic: pd.DataFrame, limit: int = LIMIT) -> pd.DataFrame:
    """At most `limit` rows, as even over condition × method × generator × skin-type group as can be; nobody chose by
    eye.

    Every combination gives its first image before any gives a second; ties go by a digest of the image's id. Returned
    sorted by condition, method, generator, group and id.
    """
    cell = ["condition", "method", "generator", "fst_group"]
    chance = synthetic["image_id"].map(seeds.digest).rename("chance")
    shuffled = synthetic.assign(chance=chance).sort_values(["chance", "image_id"])
    shuffled["turn"] = shuffled.groupby(cell, observed=True).cumcount()
    sample = shuffled.sort_values(["turn", "chance"]).head(limit)
    return sample.drop(columns=["turn", "chance"]).sort_values([*cell, "image_id"]).reset_index(drop=True)


def collect(profile: str, limit: int = LIMIT) -> dict:
    """What the page's gallery shows of a run.

    Returns {missing: reason}, or: of (number of synthetic images), real (names of data sets whose photographs are
    shown), filters (name → its values, in order), tiles and parents. A tile is {id, image (a data: URI), alt, picks
    (filter → position in its values), parent (position in `parents`), facts ([(name, value)])}, a parent {id, image,
    alt}. Raises ValueError or FileNotFoundError where a kept unit is damaged.
    """
    synthetic = paper_tables.optional(profile, "synthetic")
    real = paper_tables.optional(profile, "images")
    if synthetic is None or real is None or synthetic.empty:
        return {"missing": f"{NOT_RUN}: synthetic images are made by {paper_tables.MADE_BY['synthetic']}"}
    if lacking := [name for name in NEEDED if name not in synthetic.columns]:
        return {"missing": f"no image can be shown: the table 'synthetic' has no column {lacking[0]!r}"}
    kind = synthetic["method"] + np.where(synthetic["generator"] == "base", " (untouched base)", "")
    sample = pick(synthetic.assign(kind=kind), limit)
    filters = {
        "condition": sorted(sample["condition"].unique()),
        "method": sorted(sample["kind"].unique()),
        "skin type": [g for g in GROUPS if (sample["fst_group"] == g).any()],
    }
    parents = real[real["image_id"].isin(sample["parent"])].drop_duplicates("image_id").reset_index(drop=True)
    place = {image_id: number for number, image_id in enumerate(parents["image_id"])}
    tiles = [
        {
            "id": row["image_id"],
            "image": picture,
            "alt": _alt(row),
            "picks": {name: filters[name].index(row[key]) for name, key in _KEYS.items()},
            "parent": place.get(row["parent"]),
            "facts": _facts(row),
        }
        for row, picture in zip(sample.to_dict("records"), _pictures(sample), strict=True)
    ]
    originals = [
        {"id": row["image_id"], "image": picture, "alt": f"real image {row['image_id']}"}
        for row, picture in zip(parents.to_dict("records"), _pictures(parents), strict=True)
    ]
    sources = [SOURCES.get(name, name) for name in sorted(parents["source"].unique()) if not name.startswith("phantom")]
    return {"of": len(synthetic), "real": ", ".join(sources), "filters": filters, "tiles": tiles, "parents": originals}


_KEYS = {"condition": "condition", "method": "kind", "skin type": "fst_group"}


def _alt(row: Mapping) -> str:
    return f"synthetic image of {row['condition']}, {row['kind']}, {_skin(row)}"


def _skin(row: Mapping) -> str:
    return f"skin type {row['fst']}" if row["fst"] > 0 else "skin type unknown"


def _pictures(rows: pd.DataFrame) -> list[str]:
    """The rows' images as data: URIs, in their order; each shard is read once, and noted as an input of the paper."""
    small = (images.prepare(image, min(SIDE, len(image))) for image in images.pictures(rows))
    return [webp(Image.fromarray(image)) for image in small]


def webp(picture: Image.Image) -> str:
    """A picture as a `data:` URI of lossy WebP."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _facts(row: Mapping) -> list[tuple[str, str]]:
    """Where one image comes from, as it stands in the manifests of the store: what is needed to make it again."""
    task = store.manifest("shard", row["unit"])["about"]
    sampling = Sampling.take(task)
    first = [("first stage", row["image_id"].replace("-in-then-outpaint-", "-inpaint-"))]
    again = [("made again", "once, with this seed, since the first attempt was flagged")]
    return [
        ("image", row["image_id"]),
        ("source", f"{row['parent']} ({row['condition']}, {_skin(row)})"),
        ("method", f"{row['kind']}, replicate {row['replicate']}"),
        *(first if row["method"] == "in-then-outpaint" else []),
        ("seed", str(row["seed"])),
        *(again if row["made_again"] else []),
        ("flags", row["flags"] or "none"),
        ("prompt", row["prompt"]),
        ("sampling", _listed(sampling.deciding(row["method"]), Sampling.names())),
        *_model(row["generator_key"], row["scope"], task["base"]),
        ("kept as", f"runs/store/shard/{row['unit']}, row {row['row']}; made by 03_generation"),
    ]


def _model(key: str, scope: str, base: Mapping) -> list[tuple[str, str]]:
    """The model's facts: fine-tuned, as its unit says, or the untouched base."""
    revision = f", revision {base['revision']}" if base.get("revision") else ""
    name = base["name"].rstrip("/").rpartition("/")[2]  # of a folder, only the last part: the page may travel
    about = ("base", f"{name}{revision}, weights {base['digest']}")
    if not key:
        return [("model", "the untouched base"), about]
    manifest = store.manifest("generator", key)
    task, steps = manifest["about"], manifest["result"]["steps"]
    whose = "of all conditions" if scope == "all" else "of this condition"
    training = f"DreamBooth {whose}, {len(task['images'])} images, {steps} steps, {_listed(task, LEARNED)}"
    return [("model", f"runs/store/generator/{key}; made by 02_dreambooth"), ("fine-tuning", training), about]


def _listed(values: Mapping, names: Iterable[str]) -> str:
    return ", ".join(f"{name} {json.dumps(values[name])}" for name in names if name in values).replace('"', "")
