"""Published synthetic images in place of generating: the pictures of an archive, kept as shards of our own."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skinsyn import images
from skinsyn.images import pixels
from skinsyn.run import compute, files, store
from skinsyn.run.records import Record, setting

from . import generation
from .archive import KINDS, SUBMETHODS, scan
from .sampling import flag
from .settings import METHODS, Entry

__all__ = ["Member", "PublishedShard", "keep", "key_of", "plan", "take"]

RECIPE = 1
MODEL = ["method", "generator", "scope", "label"]
KEY = ("published",)


class Member(NamedTuple):
    """One published picture: where its bytes lie, their SHA-256, and the image's name here."""

    file: str
    offset: int
    bytes: int
    sha256: str
    name: str


@dataclass(frozen=True, kw_only=True)
class PublishedShard(Record):
    """One shard of published pictures: a task of `published.keep`."""

    of: str = setting("published images", "what is kept", decides=KEY)
    method: str = setting(about="of generation", choices=METHODS, decides=KEY)
    generator: str = setting(about="kind of model", choices=("fine-tuned", "base"), decides=KEY)
    scope: str = setting(about="of the model", choices=("condition", "all"), decides=KEY)
    condition: str = setting(about="of its images", decides=KEY)
    replicate: int = setting(about="number of the replicate", low=0, decides=KEY)
    image_size: int = setting(about="side of images", unit="pixels", low=1, decides=KEY)
    near_copy_distance: int = setting(about="pHash bits up to which an image is a near-copy", decides=KEY)
    seen: list = setting(about="every parent of its generator's pictures in the archive", decides=KEY)
    parents: list = setting(about="rows: image_id, fst, fst_group, unit, row", decides=KEY)
    members: list = setting(about="the pictures; in the key by name and SHA-256")


def take(
    folder: Path, table: pd.DataFrame, entries: Sequence[Entry], near_copy_distance: int, executor: str = "serial"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table `synthetic` from an archive, in the size of the real images' shards; and what is left out, with
    reasons.

    table, entries: as in `plan`. Raises ValueError where nothing is left, with the commonest reason.
    """
    files.log_access("read", folder)
    size = pixels(table.head(1).to_dict("records")).shape[1]
    tasks, out = plan(scan(folder, executor), table, entries, size, near_copy_distance)
    if not tasks:
        raise ValueError(
            f"{folder}: none of {len(out)} published images can be used, mostly since {out['reason'].mode()[0]}"
        )
    keys = compute.fan_out(executor, keep, [(task,) for task in tasks], "published images")
    return generation.table(keys), pd.concat([out, _undecodable(keys)], ignore_index=True)


def _plain(names: pd.Series) -> pd.Series:
    """Conditions' names as words, so that `basal-cell-carcinoma` and `basal cell carcinoma` are one."""
    return names.str.lower().str.replace(r"[-_ ]+", " ", regex=True).str.strip()


def plan(
    frame: pd.DataFrame, table: pd.DataFrame, entries: Sequence[Entry], size: int, near_copy_distance: int
) -> tuple[list[PublishedShard], pd.DataFrame]:
    """Tasks of `keep`, and what is left out, one row (image_id, stage, reason) per picture.

    frame: of `scan`. table: real images (image_id, condition, fst, fst_group, unit, row, split). entries: the plan of
    03: what it would have made is taken, at most so many replicates. A generation's tag and number, in order, are
    replicates. Only children of training images are kept. Each task's `seen` is every parent of its generator's
    pictures in the archive, also of those left out: what that generator must at least have learned from. Raises
    ValueError for an unknown word.
    """
    for column, words in (("submethod", SUBMETHODS), ("kind", KINDS)):
        if strange := sorted(set(frame[column]) - set(words)):
            raise ValueError(f"published images: unknown {column} {strange[:3]}; known: {', '.join(words)}")
    frame = frame.assign(method=frame["submethod"].map(SUBMETHODS), generator=frame["kind"].map(KINDS))
    frame["scope"] = np.where(frame["label"] == "all", "all", "condition")
    order = frame[[*MODEL, "tag", "number"]].drop_duplicates().sort_values([*MODEL, "tag", "number"])
    frame = frame.merge(order.assign(replicate=order.groupby(MODEL).cumcount()), on=[*MODEL, "tag", "number"])
    known = table[["image_id", "condition", "fst", "fst_group", "unit", "row", "split"]]
    frame = frame.merge(known, how="left", left_on="parent", right_on="image_id")
    frame = frame.sort_values(["parent", "file", "offset"])
    where = frame["method"] + "-" + frame["generator"] + "-" + frame["scope"]  # names as generated images have them
    frame["name"] = frame["parent"] + "-" + where + "-" + frame["replicate"].astype(str).str.zfill(3)
    reason = _reasons(frame, entries)
    out = pd.DataFrame({"image_id": frame["name"], "stage": "published images", "reason": reason})[reason != ""]
    seen = {key: sorted(set(part["parent"])) for key, part in frame.groupby(["label", "kind"])}
    columns = ["method", "generator", "scope", "condition", "replicate"]
    tasks = []
    for group, part in frame[reason == ""].groupby(columns, sort=True):
        for start in range(0, len(part), images.SHARD_IMAGES):
            some = part.iloc[start : start + images.SHARD_IMAGES]
            parents = some[["image_id", "fst", "fst_group", "unit", "row"]].astype({"fst": int, "row": int})
            shard = PublishedShard(
                **dict(zip(columns, (*group[:-1], int(group[-1])), strict=True)),
                image_size=size,
                near_copy_distance=near_copy_distance,
                seen=seen[part["label"].iloc[0], part["kind"].iloc[0]],
                parents=json.loads(parents.to_json(orient="records")),
                members=[Member(*row) for row in some[list(Member._fields)].itertuples(index=False)],
            )
            tasks.append(shard)
    return tasks, out.reset_index(drop=True)


def _reasons(frame: pd.DataFrame, entries: Sequence[Entry]) -> pd.Series:
    """Why a picture is left out, '' where it is kept; the first reason that holds."""
    replicates: dict[tuple[str, str, str], int] = {}
    for entry in entries:
        for method in {entry.method, "inpaint" if entry.method == "in-then-outpaint" else entry.method}:
            group = method, entry.generator, entry.scope
            replicates[group] = max(replicates.get(group, 0), entry.replicates)
    groups = zip(frame["method"], frame["generator"], frame["scope"], strict=True)
    planned = np.array([replicates.get(group, 0) for group in groups])
    other = (frame["scope"] == "condition") & (_plain(frame["label"]) != _plain(frame["condition"].astype("str")))
    split = frame["split"].astype("str")
    reason = pd.Series("", index=frame.index, dtype="str")
    for where, text in (
        (frame["split"].isna(), "its parent is not among the images of this run"),
        (split != "train", "its parent is a " + split + " image"),
        (other, "it is of another condition than its parent"),
        (frame["replicate"] >= planned, "the plan of 03_generation does not ask for it"),
        (frame["name"].duplicated(), "it is in the archive twice"),
    ):
        reason = reason.mask((reason == "") & where, text)
    return reason


def key_of(shard: PublishedShard) -> str:
    """The key of the shard: what the pictures are and their bytes, never where they lie."""
    inputs = {member.name: member.sha256 for member in shard.members}
    return store.key_of("shard", RECIPE, shard.deciding("published"), inputs, 0)


def keep(shard: PublishedShard) -> str:
    """Keep one shard of published pictures and return its key; columns as generated shards have, seed -1 (unknown).

    Each is decoded and resized as photographs are, and flagged. The manifest's result names those that cannot be
    decoded. Raises ValueError where the archive has changed since it was scanned, or nothing can be decoded.
    """
    key = key_of(shard)

    def make(folder: Path) -> dict[str, Any]:
        pictures: dict[int, np.ndarray] = {}
        undecodable = {}
        for place, member in enumerate(shard.members):
            try:
                pictures[place] = images.prepare(images.decode_bytes(_read(member), member.name), shard.image_size)
            except images.ImageError as error:
                undecodable[member.name] = error.reason
        rows = _rows(shard).loc[list(pictures)].reset_index(drop=True)
        size = shard.image_size
        originals = list(pixels([shard.parents[place] for place in pictures], size)) if pictures else []
        pairs = zip(pictures.values(), originals, strict=True)
        rows["flags"] = [flag(image / 255, image, parent, shard.near_copy_distance) for image, parent in pairs]
        stack = np.stack(list(pictures.values())) if pictures else np.zeros((0, size, size, 3), np.uint8)
        images.write_shard(folder, stack, rows)
        flagged = int((rows["flags"] != "").sum())
        return {"images": len(rows), "made_again": 0, "flagged": flagged, "left_out": undecodable}

    store.keep("shard", key, make, shard.json() | {"members": len(shard.members)})
    return key


def _read(member: Member) -> bytes:
    with open(member.file, "rb") as handle:
        handle.seek(member.offset)
        content = handle.read(member.bytes)
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise ValueError(f"{member.file} has changed since it was scanned; run 03_generation again")
    return content


def _rows(shard: PublishedShard) -> pd.DataFrame:
    parents = pd.DataFrame(shard.parents)
    return pd.DataFrame(
        {
            "image_id": [member.name for member in shard.members],
            "parent": parents["image_id"],
            "condition": shard.condition,
            "fst": parents["fst"],
            "fst_group": parents["fst_group"],
            "method": shard.method,
            "generator": shard.generator,
            "generator_key": "published",
            "scope": shard.scope,
            "replicate": shard.replicate,
            "seed": -1,
            "flags": "",
            "made_again": False,
            "prompt": "",
        }
    )


def _undecodable(keys: Sequence[str]) -> pd.DataFrame:
    """Pictures that could not be decoded when the shards were kept: image_id, stage, reason."""
    results = [store.manifest("shard", key)["result"]["left_out"] for key in keys]
    names = [name for result in results for name in result]
    reasons = [reason for result in results for reason in result.values()]
    return pd.DataFrame({"image_id": names, "stage": "decoding", "reason": reasons}, dtype="str")
