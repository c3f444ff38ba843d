"""Archives of published synthetic images, read without unpacking: WebDataset shards, or folders of pictures.

The layouts are those of the study's authors (github.com/manrai/synthetic-derm: huggingface/*webdataset*.py writes the
shards, generation/generate.py the folders); `export` writes the first of them, too.
"""

import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd

from skinsyn.run import compute, files, paths

__all__ = ["KINDS", "SUBMETHODS", "scan", "scan_folder", "scan_tar"]

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


def scan(folder: Path, executor: str = "serial") -> pd.DataFrame:
    """One row (COLUMNS) per picture of an archive; its bytes lie at `offset` of `file`, so that nothing is unpacked.

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


def scan_tar(file: str) -> list[dict[str, Any]]:
    """The pictures of one uncompressed WebDataset shard; what lies beside a picture as JSON says what it is."""
    places: dict[str, dict[str, Any]] = {}
    metadata: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is None:  # a folder or a link
                    continue
                # WebDataset: the key ends at the first dot.
                key, _, suffix = member.name.rpartition("/")[2].partition(".")
                if f".{suffix.lower()}" in PICTURES and member.size <= MAX_BYTES:
                    place = {"file": file, "offset": member.offset_data, "bytes": member.size}
                    places[key] = {**place, "sha256": hashlib.sha256(content.read()).hexdigest()}
                elif suffix == "json" and member.size <= MAX_JSON:
                    metadata[key] = json.loads(content.read())
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ValueError(
            f"{file}: not a whole uncompressed tar after {len(places)} pictures ({error}); fetch it again"
        ) from error
    return [{**place, **_about(file, key, metadata.get(key))} for key, place in places.items()]


def _about(file: str, key: str, metadata: dict[str, Any] | None) -> dict[str, Any]:
    """label, kind, submethod, tag, number and parent of a picture, by its JSON, or else by its and the shard's name."""
    try:
        if metadata is not None:
            kind = str(metadata["method"]).replace("_", "-").partition("-")[0]
            names = {"label": "label", "submethod": "submethod", "parent": "md5hash"}
            about = {name: metadata[theirs] for name, theirs in names.items()}
            return {
                **about,
                "kind": kind,
                "tag": str(metadata.get("tag", "")),
                "number": int(metadata["generation_num"]),
            }
        shard, member = SHARD.fullmatch(Path(file).name), MEMBER.fullmatch(key)
        if shard and member:
            about = shard.groupdict() | member.groupdict()
            return {**about, "number": int(about["number"])}
        fault: object = "its name is of no known form"
    except (KeyError, TypeError, ValueError) as error:
        fault = repr(error)
    raise ValueError(
        f"{file}: the picture {key!r} does not say what it is ({fault}). Expected {key}.json beside it with label, "
        "method, submethod, generation_num and md5hash, or names like "
        "shard-psoriasis-finetune-inpaint-inpaint-00000.tar and "
        "psoriasis_finetune_inpaint_inpaint_generations1_00_<parent>.png"
    )


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
