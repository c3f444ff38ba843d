"""Published synthetic images in place of generating: WebDataset shards or folders, kept as shards of our own.

The layouts are those of the study's authors (github.com/manrai/synthetic-derm: huggingface/*webdataset*.py writes the
shards, generation/generate.py the folders); `export` writes the first of them, too.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinsyn import images
from skinsyn.images import pixels
from skinsyn.run import compute, files, paths, store

from . import generation
from .sampling import flag

__all__ = ["KINDS", "SUBMETHODS", "keep", "key_of", "plan", "scan", "take", "scan_folder", "scan_tar"]

RECIPE = 1
# The authors' words → ours.
SUBMETHODS = {
    "text-to-image": "text-to-image", "inpaint": "inpaint", "inpaint-outpaint": "in-then-outpaint",
    "img2img": "img2img",
    "gan": "gan",
}  # fmt: skip
KINDS = {"finetune": "fine-tuned", "pretrained": "base"}
SHARD = re.compile(
    r"shard-(?P<label>.+?)-(?P<kind>finetune|pretrained)-(?P<method>text-to-image|inpaint|img2img|gan)-"
    r"(?P<submethod>text-to-image|inpaint-outpaint|inpaint|img2img|gan)-(?P<index>\d+)\.tar"
)
MEMBER = re.compile(r"(?:.*_)?(?P<tag>generations\d+)_(?P<number>\d+)_(?P<parent>[^_]+)")  # a member without its JSON
PICTURES = (".png", ".webp", ".jpg", ".jpeg")
MAX_JSON = 1_000_000  # bytes of one member's metadata
MAX_BYTES = 100_000_000  # of one picture
COLUMNS = ["file", "offset", "bytes", "sha256", "label", "kind", "submethod", "tag", "number", "parent"]


def take(
    folder: Path, table: pd.DataFrame, entries: Sequence[dict], near_copy_distance: int, executor: str = "serial"
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


def scan(folder: Path, executor: str = "serial") -> pd.DataFrame:
    """Every picture of an archive, a row each: COLUMNS; bytes lie at `offset` of `file`, so that nothing is unpacked.

    folder: holds `shard-{condition}-{finetune|pretrained}-{method}-{submethod}-{index}.tar` at any depth, or pictures
    as `{condition}/{method}/{NN}/{parent}.png`. Raises FileNotFoundError where it holds neither, ValueError naming a
    damaged shard or a name that says too little.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder of published images at {folder}: name the one that holds their shards (*.tar)"
        )
    tars = [(str(paths.inside(folder, p.relative_to(folder))),) for p in sorted(folder.rglob("*.tar"))]
    if tars:
        rows = [row for part in compute.fan_out(executor, scan_tar, tars, "reading shards") for row in part]
    else:
        rows = scan_folder(folder)
    if not rows:
        raise FileNotFoundError(
            f"no published images in {folder}: expected shard-*.tar, or {{condition}}/{{method}}/{{NN}}/{{parent}}.png"
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def scan_tar(file: str) -> list[dict]:
    """The pictures of one uncompressed WebDataset shard; what lies beside a picture as JSON says what it is."""
    found: dict[str, dict] = {}
    told: dict[str, dict] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                key, dot, suffix = member.name.rpartition("/")[2].partition(
                    "."
                )  # WebDataset: the key ends at the first dot
                if f".{suffix.lower()}" in PICTURES and member.size <= MAX_BYTES:
                    content = tar.extractfile(member).read()
                    place = {"file": file, "offset": member.offset_data, "bytes": member.size}
                    found[key] = {**place, "sha256": hashlib.sha256(content).hexdigest()}
                elif suffix == "json" and member.size <= MAX_JSON:
                    told[key] = json.loads(tar.extractfile(member).read())
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ValueError(
            f"{file}: not a whole uncompressed tar after {len(found)} pictures ({error}); fetch it again"
        ) from error
    return [{**place, **_about(file, key, told.get(key))} for key, place in found.items()]


def _about(file: str, key: str, told: dict | None) -> dict:
    """label, kind, submethod, tag, number and parent of one member, from its JSON, or else from its and the shard's
    name."""
    try:
        if told is not None:
            kind = str(told["method"]).replace("_", "-").partition("-")[0]
            same = {"label": told["label"], "submethod": told["submethod"], "parent": told["md5hash"]}
            return {**same, "kind": kind, "tag": str(told.get("tag", "")), "number": int(told["generation_num"])}
        shard, member = SHARD.fullmatch(Path(file).name), MEMBER.fullmatch(key)
        same = {"label": shard["label"], "submethod": shard["submethod"], "kind": shard["kind"]}
        return {**same, "tag": member["tag"], "number": int(member["number"]), "parent": member["parent"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: the picture {key!r} does not say what it is ({error!r}). Expected {key}.json beside it with "
            "label, "
            "method, submethod, generation_num and md5hash, or names like "
            "shard-psoriasis-finetune-inpaint-inpaint-00000.tar"
            " and psoriasis_finetune_inpaint_inpaint_generations1_00_<parent>.png"
        ) from error


def scan_folder(folder: Path) -> list[dict]:
    """The pictures of a folder `{condition}/{method}/{NN}/{parent}.png`, also below others; of the base where one of
    those is called pretrained. Contact sheets (`grid/`) are no such path and are not counted."""
    rows = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES):
        parts = [folder.name, *path.relative_to(folder).parts]
        if len(parts) < 5 or not parts[-2].isdecimal() or parts[-3] not in SUBMETHODS:
            continue
        file = paths.inside(folder, path.relative_to(folder))
        place = {"file": str(file), "offset": 0, "bytes": file.stat().st_size, "sha256": files.digest_file(file)}
        kind = "pretrained" if any("pretrained" in part for part in parts[:-4]) else "finetune"
        about = {"label": parts[-4], "kind": kind, "submethod": parts[-3], "tag": "", "number": int(parts[-2])}
        rows.append({**place, **about, "parent": path.stem})
    return rows


def _plain(names: pd.Series) -> pd.Series:
    """Conditions' names as words, so that `basal-cell-carcinoma` and `basal cell carcinoma` are one."""
    return names.str.lower().str.replace(r"[-_ ]+", " ", regex=True).str.strip()


def plan(
    frame: pd.DataFrame, table: pd.DataFrame, entries: Sequence[dict], size: int, near_copy_distance: int
) -> tuple[list[dict], pd.DataFrame]:
    """JSON-able tasks of `keep`, and what is left out (image_id, stage, reason), a row each.

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
    model = ["method", "generator", "scope", "label"]
    order = frame[[*model, "tag", "number"]].drop_duplicates().sort_values([*model, "tag", "number"])
    frame = frame.merge(order.assign(replicate=order.groupby(model).cumcount()), on=[*model, "tag", "number"])
    known = table[["image_id", "condition", "fst", "fst_group", "unit", "row", "split"]]
    frame = frame.merge(known, how="left", left_on="parent", right_on="image_id").sort_values(
        ["parent", "file", "offset"]
    )
    frame["name"] = _name(frame)
    reason = _reasons(frame, entries)
    out = pd.DataFrame({"image_id": frame["name"], "stage": "published images", "reason": reason})[reason != ""]
    seen = {key: sorted(set(part["parent"])) for key, part in frame.groupby(["label", "kind"])}
    tasks = []
    for group, part in frame[reason == ""].groupby(
        ["method", "generator", "scope", "condition", "replicate"], sort=True
    ):
        about = dict(zip(["method", "generator", "scope", "condition", "replicate"], group, strict=True))
        about |= {"of": "published images", "image_size": size, "near_copy_distance": near_copy_distance}
        about["seen"] = seen[part["label"].iloc[0], part["kind"].iloc[0]]
        for start in range(0, len(part), images.SHARD_IMAGES):
            some = part.iloc[start : start + images.SHARD_IMAGES]
            rows = [some[c].to_list() for c in ("file", "offset", "bytes", "sha256", "name")]
            members = [
                dict(zip(("file", "offset", "bytes", "sha256", "name"), one, strict=True))
                for one in zip(*rows, strict=True)
            ]
            parents = json.loads(some[["image_id", "fst", "fst_group", "unit", "row"]].to_json(orient="records"))
            parents = [{**p, "fst": int(p["fst"]), "row": int(p["row"])} for p in parents]
            tasks.append({**about, "replicate": int(group[-1]), "members": members, "parents": parents})
    return tasks, out.reset_index(drop=True)


def _name(frame: pd.DataFrame) -> pd.Series:
    """The image's id, as generated images have it."""
    where = frame["method"] + "-" + frame["generator"] + "-" + frame["scope"]
    return frame["parent"] + "-" + where + "-" + frame["replicate"].astype(str).str.zfill(3)


def _reasons(frame: pd.DataFrame, entries: Sequence[dict]) -> pd.Series:
    """Why a picture is left out, '' where it is kept; the first reason that holds."""
    wanted: dict[tuple, int] = {}
    for entry in entries:
        for method in {entry["method"], "inpaint" if entry["method"] == "in-then-outpaint" else entry["method"]}:
            group = method, entry["generator"], entry["scope"]
            wanted[group] = max(wanted.get(group, 0), entry["replicates"])
    asked = [wanted.get(group, 0) for group in zip(frame["method"], frame["generator"], frame["scope"], strict=True)]
    other = (frame["scope"] == "condition") & (_plain(frame["label"]) != _plain(frame["condition"].astype("str")))
    held = frame["split"].astype("str")
    reason = pd.Series("", index=frame.index, dtype="str")
    for where, text in (
        (frame["split"].isna(), "its parent is not among the images of this run"),
        (held != "train", "its parent is a " + held + " image"),
        (other, "it is of another condition than its parent"),
        (frame["replicate"] >= np.array(asked), "the plan of 03_generation does not ask for it"),
        (frame["name"].duplicated(), "it is in the archive twice"),
    ):
        reason = reason.mask((reason == "") & where, text)
    return reason


def key_of(task: dict) -> str:
    """The key of the shard: what the pictures are and their bytes, never where they lie."""
    names = (
        "of",
        "method",
        "generator",
        "scope",
        "condition",
        "replicate",
        "image_size",
        "near_copy_distance",
        "parents",
    )
    inputs = {member["name"]: member["sha256"] for member in task["members"]}
    return store.key_of("shard", RECIPE, {name: task[name] for name in names} | {"seen": task["seen"]}, inputs, 0)


def keep(task: dict) -> str:
    """Keep one shard of published pictures and return its key; columns as generated shards have, seed -1 (unknown).

    Each is decoded and resized as photographs are, and flagged. The manifest's result names those that cannot be
    decoded. Raises ValueError where the archive has changed since it was scanned, or nothing can be decoded.
    """
    key = key_of(task)

    def make(folder: Path) -> dict:
        size, found, lost = task["image_size"], [], {}
        for member in task["members"]:
            try:
                found.append(images.prepare(images.decode_bytes(_read(member), member["name"]), size))
            except images.ImageError as error:
                lost[member["name"]] = error.reason
        rows = _rows(task)
        rows = rows[~rows["image_id"].isin(lost)].reset_index(drop=True)
        parents = pixels(
            [p for p, m in zip(task["parents"], task["members"], strict=True) if m["name"] not in lost], size
        )
        drawn = zip(found, parents, strict=True)
        rows["flags"] = [flag(image / 255, image, parent, task["near_copy_distance"]) for image, parent in drawn]
        images.write_shard(folder, np.stack(found) if found else np.zeros((0, size, size, 3), np.uint8), rows)
        return {"images": len(rows), "made_again": 0, "flagged": int((rows["flags"] != "").sum()), "left_out": lost}

    store.keep("shard", key, make, {**task, "members": len(task["members"])})
    return key


def _read(member: dict) -> bytes:
    with open(member["file"], "rb") as handle:
        handle.seek(member["offset"])
        content = handle.read(member["bytes"])
    if hashlib.sha256(content).hexdigest() != member["sha256"]:
        raise ValueError(f"{member['file']} has changed since it was scanned; run 03_generation again")
    return content


def _rows(task: dict) -> pd.DataFrame:
    parents = pd.DataFrame(task["parents"])
    same = {
        "method": task["method"],
        "generator": task["generator"],
        "generator_key": "published",
        "scope": task["scope"],
    }
    return pd.DataFrame(
        {
            "image_id": [member["name"] for member in task["members"]],
            "parent": parents["image_id"],
            "condition": task["condition"],
            "fst": parents["fst"],
            "fst_group": parents["fst_group"],
            **same,
            "replicate": task["replicate"],
            "seed": -1,
            "flags": "",
            "made_again": False,
            "prompt": "",
        }
    )


def _undecodable(keys: Sequence[str]) -> pd.DataFrame:
    """Pictures that could not be decoded when the shards were kept: image_id, stage, reason."""
    lost = [(name, why) for key in keys for name, why in store.manifest("shard", key)["result"]["left_out"].items()]
    names, reasons = zip(*lost, strict=True) if lost else ((), ())
    return pd.DataFrame({"image_id": names, "stage": "decoding", "reason": reasons}, dtype="str")
