"""Photographs in, one codec out: safe decoding, one resizing, shards (WebDataset tar of lossless WebP), and the memmap.

Real and synthetic images pass through the same functions here, so that no classifier can learn the codec.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError

from .run import compute, paths, store

__all__ = [
    "FORMATS", "ImageError", "decode", "decode_bytes", "keep_shard", "keep_shards", "memmap", "pictures", "pixels",
    "prepare", "read_shard", "write_shard",
]  # fmt: skip

RECIPE = 1  # raise it when the bytes of a shard or memmap change
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # decided by content, not by the file's name
MAX_PIXELS = 50_000_000
SHARD_IMAGES = 1000
SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,200}")


class ImageError(ValueError):
    """A file that cannot become an image. `reason` is short and the same for all files with the fault, for counting."""

    def __init__(self, path: str | Path, reason: str, detail: str = "") -> None:
        super().__init__(f"{path}: {reason}" + (f" ({detail})" if detail else ""))
        self.path, self.reason = str(path), reason


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow to 8-bit RGB: 16-bit grey scaled, transparency laid on white, CMYK and palettes converted."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("more than 16 bits a pixel")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def decode(path: str | Path, root: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode one photograph that lies inside `root` to upright RGB pixels; nothing but pixels is kept.

    path: relative to `root`, or absolute inside it. EXIF orientation is applied, then EXIF, places and colour profiles
    are dropped (profiles are not applied). Of several frames the first is taken. The size is checked before pixels are
    decoded. Returns uint8 (height, width, 3). Raises ImageError with a `reason`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (4, 2)).save(Path(folder, "a.png"))
    ...     decode("a.png", folder).shape
    (2, 4, 3)
    """
    try:
        file = paths.inside(Path(root), path)
    except ValueError as error:
        raise ImageError(path, "path leaves its folder", str(root)) from error
    if not file.is_file():
        raise ImageError(path, "no such file", f"looked in {root}")
    return _pixels(file, path, max_pixels)


def decode_bytes(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """As `decode`, of a picture that is in memory, e.g. a member of an archive; `name` is for the error.

    >>> decode_bytes(b"<html>", "1.jpg")
    Traceback (most recent call last):
    skinsyn.images.ImageError: 1.jpg: not an image (accepted: JPEG, PNG, WEBP, BMP, TIFF, GIF)
    """
    return _pixels(io.BytesIO(content), name, max_pixels)


def _pixels(source: Path | io.BytesIO, name: str | Path, max_pixels: int) -> np.ndarray:
    """Pixels of one picture, uint8 (height, width, 3), checked as `decode` says. Raises ImageError."""
    try:
        with Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(name, "too many pixels", f"{image.width} x {image.height}; max_pixels is {max_pixels}")
            image.load()
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(name, "too many pixels", str(error)) from error
    except UnidentifiedImageError as error:
        raise ImageError(name, "not an image", f"accepted: {', '.join(FORMATS)}") from error
    except Exception as error:  # a damaged file raises almost anything in a decoder, e.g. SyntaxError or struct.error
        raise ImageError(name, "truncated or damaged", f"{type(error).__name__}: {error}") from error


def prepare(array: np.ndarray, size: int) -> np.ndarray:
    """The centre square of uint8 (h, w, 3), resized with antialiasing (bicubic) to uint8 (size, size, 3).

    >>> prepare(np.zeros((100, 150, 3), np.uint8), 64).shape
    (64, 64, 3)
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected uint8 (height, width, 3), got {array.dtype} {array.shape}")
    side = min(array.shape[:2])
    top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    square = array[top : top + side, left : left + side]
    if side == size:
        return square.copy()
    return np.array(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC))


def encode(array: np.ndarray) -> bytes:
    """Lossless WebP of uint8 (h, w, 3): the one codec of the project.

    >>> picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> bool((decode_bytes(encode(picture), "a.webp") == picture).all())
    True
    """
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "WEBP", lossless=True, quality=50, method=2)
    return buffer.getvalue()


def write_shard(folder: Path, images: np.ndarray, rows: pd.DataFrame) -> None:
    """Write `images.tar` (`<image_id>.webp` in the order of rows) and `rows.parquet` (rows + sha256 of each member).

    images: uint8 (n, size, size, 3), n ≤ 1000. rows: n rows with unique image_id of letters, digits, `_` and `-`.
    Byte-stable: no dates, no owners. Raises ValueError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_shard(Path(folder), np.zeros((2, 8, 8, 3), np.uint8), pd.DataFrame({"image_id": ["a", "b"]}))
    ...     sorted(file.name for file in Path(folder).iterdir())
    ['images.tar', 'rows.parquet']
    """
    if not 0 < len(images) == len(rows) <= SHARD_IMAGES:
        raise ValueError(
            f"a shard holds 1 to {SHARD_IMAGES} images, one a row; got {len(images)} images, {len(rows)} rows"
        )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"images: expected uint8 (n, size, size, 3), got {images.dtype} {images.shape}")
    unsafe = [i for i in rows["image_id"] if not SAFE_ID.fullmatch(str(i))]
    if unsafe or rows["image_id"].duplicated().any():
        raise ValueError(f"image_id must be unique and of letters, digits, _ and -; see {unsafe[:3] or 'duplicates'}")
    digests = []
    with tarfile.open(folder / "images.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for image_id, image in zip(rows["image_id"], images, strict=True):
            content = encode(image)
            member = tarfile.TarInfo(f"{image_id}.webp")  # TarInfo's own defaults are mtime 0, mode 644, owner 0
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            digests.append(hashlib.sha256(content).hexdigest())
    rows.assign(sha256=digests).to_parquet(folder / "rows.parquet", index=False, compression="zstd")


def read_shard(key: str, places: Sequence[int] | None = None) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows and images, uint8 (n, size, size, 3), of the kept unit shard/<key>; every member is checked by its sha256.

    places: of the rows wanted, in their order; None for all. Only those are decoded.
    Raises FileNotFoundError where the unit is not in the store, ValueError where it is damaged.

    >>> import os, tempfile
    >>> from unittest import mock
    >>> with tempfile.TemporaryDirectory() as place, mock.patch.dict(os.environ, SKINSYN_RUNS=place):
    ...     Image.new("RGB", (12, 8), "white").save(Path(place, "a.png"))
    ...     rows = pd.DataFrame({"image_id": ["a"], "path": ["a.png"], "file_sha256": ["0"]})
    ...     rows, images = read_shard(keep_shard(rows, Path(place), size=8))
    >>> rows["image_id"].tolist(), images.shape
    (['a'], (1, 8, 8, 3))
    """
    folder = store.folder("shard", key)
    try:
        rows, images = pd.read_parquet(folder / "rows.parquet"), []
        rows = rows if places is None else rows.iloc[list(places)].reset_index(drop=True)
        with tarfile.open(folder / "images.tar") as tar:
            for image_id, digest in zip(rows["image_id"], rows["sha256"], strict=True):
                member = tar.extractfile(f"{image_id}.webp")
                content = member.read() if member else b""
                if hashlib.sha256(content).hexdigest() != digest:
                    raise ValueError(f"{image_id}.webp does not have the bytes that rows.parquet names")
                with Image.open(io.BytesIO(content), formats=["WEBP"]) as image:
                    images.append(np.array(image.convert("RGB")))
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise ValueError(
            f"the unit shard/{key} is damaged: {folder} ({error}). Delete that folder and make it again."
        ) from error
    return rows, np.stack(images)


def pictures(rows: pd.DataFrame | Sequence[Mapping]) -> list[np.ndarray]:
    """The images of rows (unit, row) in their order, each uint8 (s, s, 3), of any size; raises as `read_shard`."""
    wanted = pd.DataFrame(rows)[["unit", "row"]]
    by_place: dict[int, np.ndarray] = {}
    for unit, places in wanted.groupby("unit").indices.items():
        by_place |= zip(places, read_shard(str(unit), wanted["row"].iloc[places].tolist())[1], strict=True)
    return [by_place[place] for place in range(len(wanted))]


def pixels(rows: pd.DataFrame | Sequence[Mapping], size: int | None = None) -> np.ndarray:
    """As `pictures`, in one array uint8 (n, s, s, 3); resized to `size` where they are of another.

    >>> import os, tempfile
    >>> from unittest import mock
    >>> with tempfile.TemporaryDirectory() as place, mock.patch.dict(os.environ, SKINSYN_RUNS=place):
    ...     Image.new("RGB", (12, 8), "white").save(Path(place, "a.png"))
    ...     rows = pd.DataFrame({"image_id": ["a"], "path": ["a.png"], "file_sha256": ["0"]})
    ...     pixels(keep_shards(rows, Path(place), size=8), size=4).shape
    (1, 4, 4, 3)
    """
    return np.stack([one if size in (None, len(one)) else prepare(one, size) for one in pictures(rows)])


def keep_shard(rows: pd.DataFrame, root: Path, size: int, max_pixels: int = MAX_PIXELS) -> str:
    """Decode, prepare and keep up to 1000 real photographs as one shard. Returns its key.

    rows: image_id, path (relative to `root`) and file_sha256; only image_id and the table's own facts are stored with
    it. The key depends on the files' bytes, not on where they lie. Raises ImageError.
    """
    inputs = dict(zip(rows["image_id"], rows["file_sha256"], strict=True))
    parameters = {"of": "photographs", "size": size, "order": list(rows["image_id"])}
    key = store.key_of("shard", RECIPE, parameters, inputs, threads=0)

    def make(folder: Path) -> None:
        images = np.empty((len(rows), size, size, 3), np.uint8)
        for image, path in zip(images, rows["path"], strict=True):
            image[:] = prepare(decode(path, root, max_pixels), size)
        write_shard(folder, images, rows[["image_id"]].reset_index(drop=True))

    store.keep("shard", key, make, {"of": "photographs", "size": size})
    return key


def keep_shards(rows: pd.DataFrame, root: Path, size: int, max_pixels: int = MAX_PIXELS) -> pd.DataFrame:
    """Keep photographs as shards of up to 1000, in the order of rows: unit (key) and row, indexed as rows are."""
    keys = []
    for start in compute.progress(range(0, len(rows), SHARD_IMAGES), label="shards"):
        part = rows.iloc[start : start + SHARD_IMAGES]
        keys += [keep_shard(part, root, size, max_pixels)] * len(part)
    return pd.DataFrame({"unit": keys, "row": np.arange(len(rows)) % SHARD_IMAGES}, index=rows.index)


def memmap(keys: Sequence[str]) -> tuple[np.memmap, pd.DataFrame]:
    """All images of the shards as one read-only memmap uint8 (n, size, size, 3), and its index, in the order of keys.

    The index has image_id, unit (shard key) and row (in that shard); its own position is the row in the memmap. Made
    once and kept as the unit memmap/<key>. Raises ValueError where shards differ in image size, or keys are none or
    repeated.

    >>> import os, tempfile
    >>> from unittest import mock
    >>> with tempfile.TemporaryDirectory() as place, mock.patch.dict(os.environ, SKINSYN_RUNS=place):
    ...     Image.new("RGB", (12, 8), "white").save(Path(place, "a.png"))
    ...     rows = pd.DataFrame({"image_id": ["a"], "path": ["a.png"], "file_sha256": ["0"]})
    ...     array, index = memmap([keep_shard(rows, Path(place), size=8)])
    >>> array.shape, index[["image_id", "row"]].to_numpy().tolist()
    ((1, 8, 8, 3), [['a', 0]])
    """
    keys = [str(key) for key in keys]
    if not keys or len(set(keys)) != len(keys):
        raise ValueError(f"memmap: expected one or more different shard keys, got {keys}")
    key = store.key_of("memmap", RECIPE, {"shards": keys}, {}, threads=0)

    def make(folder: Path) -> None:
        index = [pd.read_parquet(store.folder("shard", k) / "rows.parquet", columns=["image_id"]) for k in keys]
        index = [part.assign(unit=k, row=np.arange(len(part))) for k, part in zip(keys, index, strict=True)]
        side, start = read_shard(keys[0], [0])[1].shape[1], 0
        shape = (sum(map(len, index)), side, side, 3)
        out = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
        for shard, part in zip(keys, index, strict=True):
            images = read_shard(shard)[1]
            if images.shape[1] != side:
                raise ValueError(f"shard {shard} holds {images.shape[1]} px images and {keys[0]} {side} px")
            out[start : start + len(part)] = images
            start += len(part)
        out.flush()
        pd.concat(index, ignore_index=True).to_parquet(folder / "index.parquet", index=False)

    for shard in keys:
        store.manifest("shard", shard)
    folder = store.keep("memmap", key, make, {"shards": keys})
    return np.load(folder / "images.npy", mmap_mode="r"), pd.read_parquet(folder / "index.parquet")
