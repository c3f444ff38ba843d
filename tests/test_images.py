"""Images: what is decoded, what is refused and why, and that shards and the memmap give back the very pixels."""

import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from skinsyn import images
from skinsyn.run import store
from skinsyn.run.files import digest_file


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth picture whose corners differ, so that a turn or a flip shows."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * y / height, 255 * x / width, 128 + 0 * x], axis=-1).astype(np.uint8)


def reason_of(path, root, **kwargs) -> str:
    with pytest.raises(images.ImageError) as caught:
        images.decode(path, root, **kwargs)
    assert str(path) in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tiff"])
def test_lossless_formats_give_the_very_pixels(tmp_path, suffix):
    Image.fromarray(gradient()).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(images.decode(f"a.{suffix}", tmp_path), gradient())


def test_grey_alpha_palette_cmyk_and_16_bit_become_8_bit_rgb(tmp_path):
    picture, grey = Image.fromarray(gradient()), Image.fromarray(gradient()[..., 1])
    grey.save(tmp_path / "grey.png")
    picture.quantize(256).save(tmp_path / "palette.png")
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    Image.fromarray(gradient()[..., 1].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    picture.convert("1").save(tmp_path / "bits.png")
    assert np.array_equal(images.decode("grey.png", tmp_path), np.repeat(gradient()[..., 1:2], 3, axis=2))
    assert np.array_equal(images.decode("deep.png", tmp_path), np.repeat(gradient()[..., 1:2], 3, axis=2))
    assert np.abs(images.decode("palette.png", tmp_path).astype(int) - gradient()).mean() < 8
    assert np.abs(images.decode("cmyk.jpg", tmp_path).astype(int) - gradient()).mean() < 3
    assert set(np.unique(images.decode("bits.png", tmp_path))) == {0, 255}


def test_transparency_is_laid_on_white(tmp_path):
    pixels = np.dstack([gradient(), np.full((40, 60), 255, np.uint8)])
    pixels[:, :30, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    palette = Image.fromarray(np.zeros((8, 8), np.uint8), "P")
    palette.save(tmp_path / "p.png", transparency=0)
    found = images.decode("a.png", tmp_path)
    assert (found[:, :30] == 255).all() and np.array_equal(found[:, 30:], gradient()[:, 30:])
    assert (images.decode("p.png", tmp_path) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = gradient()
    turns = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2)}
    turns |= {6: np.rot90(upright), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(turns[orientation])).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(images.decode("a.png", tmp_path), upright)


def test_places_in_exif_do_not_reach_a_shard(tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif.get_ifd(0x8825)[1] = "SECRETPLACE", "N"
    Image.fromarray(gradient(64, 64)).save(tmp_path / "a.jpg", exif=exif, comment=b"SECRETPLACE")
    assert b"SECRETPLACE" in (tmp_path / "a.jpg").read_bytes()
    rows = pd.DataFrame({"image_id": ["a"], "path": ["a.jpg"], "file_sha256": ["0"]})
    key = images.keep_shard(rows, tmp_path, 64)
    assert b"SECRETPLACE" not in (store.unit_dir("shard", key) / "images.tar").read_bytes()


def test_truncated_files_are_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    for name in ("a.png", "a.jpg", "a.webp"):
        Image.fromarray(noise).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        assert reason_of(name, tmp_path) in ("truncated or damaged", "not an image"), name


def test_what_is_not_an_image_is_refused(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("a letter, not a photograph")
    (tmp_path / "folder.jpg").mkdir()
    Image.fromarray(gradient()).save(tmp_path / "page.jpg", "PDF")
    Image.fromarray(gradient()).save(tmp_path / "code.jpg", "EPS")
    assert {reason_of(n, tmp_path) for n in ("empty.jpg", "text.jpg", "page.jpg", "code.jpg")} == {"not an image"}
    assert reason_of("folder.jpg", tmp_path) == reason_of("absent.jpg", tmp_path) == "no such file"


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for name, side in (("big.png", 8_000), ("bomb.png", 100_000)):  # a header alone: decoding it would fail otherwise
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        assert reason_of(name, tmp_path) == "too many pixels"
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    assert reason_of("a.png", tmp_path, max_pixels=2_399) == "too many pixels"
    assert images.decode("a.png", tmp_path, max_pixels=2_400).shape == (40, 60, 3)


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "a.tiff")
    assert reason_of("a.tiff", tmp_path) == "truncated or damaged"


def test_a_path_may_not_leave_its_root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    Image.fromarray(gradient()).save(tmp_path / "out.png")
    (root / "link.png").symlink_to(tmp_path / "out.png")
    for path in ("../out.png", str(tmp_path / "out.png"), "link.png", "a/../../out.png"):
        assert reason_of(path, root) == "path leaves its folder", path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300),
    head=st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"GIF89a", b"II*\0"]),
)
def test_no_bytes_raise_anything_but_image_error(tmp_path, content, head):
    (tmp_path / "a").write_bytes(head + content)
    try:
        assert images.decode("a", tmp_path, max_pixels=10**6).dtype == np.uint8
    except images.ImageError as error:
        assert error.reason


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 70), level=st.integers(0, 255))
def test_prepare_keeps_a_flat_picture_flat_at_any_size(height, width, size, level):
    made = images.prepare(np.full((height, width, 3), level, np.uint8), size)
    assert made.shape == (size, size, 3) and made.dtype == np.uint8 and (made == level).all()


def test_prepare_takes_the_centre_square_and_antialiases():
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200
    assert (images.prepare(wide, 40) == 200).all()
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert np.abs(images.prepare(checks, 16).astype(int) - 127).max() < 12  # one pixel in four alone would be 0 or 255
    with pytest.raises(ValueError, match="uint8"):
        images.prepare(wide.astype(float), 8)


def some(count: int, size: int = 16, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return pixels, pd.DataFrame({"image_id": [f"im-{seed}_{i:03d}" for i in range(count)], "seed": range(count)})


def kept(count: int, size: int = 16, seed: int = 0) -> str:
    pixels, rows = some(count, size, seed)
    key = store.key_of("shard", images.RECIPE, {"seed": seed, "count": count, "size": size}, {}, 0)
    store.keep("shard", key, lambda folder: images.write_shard(folder, pixels, rows))
    return key


def test_a_shard_gives_back_the_very_pixels_and_is_byte_stable(tmp_path):
    pixels, rows = some(5)
    found, read = images.read_shard(kept(5))
    assert np.array_equal(read, pixels) and list(found["image_id"]) == list(rows["image_id"])
    assert list(found.columns) == ["image_id", "seed", "sha256"]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        images.write_shard(tmp_path / name, pixels, rows)
    for file in ("images.tar", "rows.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    with tarfile.open(tmp_path / "a/images.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in tar} == {(0, 0, 0, "", 0o644)}


def test_some_of_a_shard_come_in_the_order_asked_for():
    pixels, rows = some(5)
    found, read = images.read_shard(kept(5), [3, 0, 3])
    assert list(found["image_id"]) == list(rows["image_id"].iloc[[3, 0, 3]]) and np.array_equal(read, pixels[[3, 0, 3]])


def test_webdataset_reads_a_shard():
    pixels, rows = some(4)
    tar = store.unit_dir("shard", kept(4)) / "images.tar"
    samples = list(webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == list(rows["image_id"])
    assert np.array_equal(np.stack([sample["webp"] for sample in samples]), pixels)


def test_a_shard_refuses_wrong_images_and_ids(tmp_path):
    pixels, rows = some(3)
    for bad in (pixels.astype(np.float32), pixels[:, :8], pixels[:2], pixels[:0]):
        with pytest.raises(ValueError, match="shard|images"):
            images.write_shard(tmp_path, bad, rows)
    for ids in (["a", "b", "b"], ["a", "../b", "c"], ["a", "b.c", "d"], ["a", "", "c"], ["-a", "b", "c"]):
        with pytest.raises(ValueError, match="image_id"):
            images.write_shard(tmp_path, pixels, rows.assign(image_id=ids))


def test_a_damaged_or_absent_shard_is_named():
    with pytest.raises(FileNotFoundError, match="shard/0123"):
        images.read_shard("0123")
    key = kept(4)
    tar = store.unit_dir("shard", key) / "images.tar"
    content = bytearray(tar.read_bytes())
    content[700] ^= 1
    tar.write_bytes(content)
    with pytest.raises(ValueError, match=f"shard/{key} is damaged"):
        images.read_shard(key)
    tar.write_bytes(content[:900])
    with pytest.raises(ValueError, match=f"shard/{key} is damaged"):
        images.read_shard(key)


def test_pictures_of_rows_come_in_their_order_out_of_several_shards_and_sizes():
    small, large = kept(4, seed=1, size=8), kept(3, seed=2, size=16)
    rows = pd.DataFrame({"unit": [large, small, large, small], "row": [2, 3, 0, 3]}, index=[7, 7, 1, 0])
    found = images.pictures(rows)
    for picture, (unit, row) in zip(found, rows.itertuples(index=False), strict=True):
        assert np.array_equal(picture, images.read_shard(unit)[1][row])
    assert images.pixels(rows, 8).shape == (4, 8, 8, 3)
    assert np.array_equal(images.pixels(rows, 8)[0], images.prepare(found[0], 8))
    assert np.array_equal(images.pixels(rows.to_dict("records")[1::2]), np.stack(found[1::2]))
    with pytest.raises(KeyError, match="unit"):
        images.pictures(rows[["row"]])


def test_the_memmap_stands_in_the_order_of_its_keys():
    first, second = kept(3, seed=1), kept(4, seed=2)
    pixels, index = images.memmap([second, first])
    assert isinstance(pixels, np.memmap) and not pixels.flags.writeable
    assert np.array_equal(pixels, np.concatenate([some(4, seed=2)[0], some(3, seed=1)[0]]))
    assert list(index["unit"]) == [second] * 4 + [first] * 3 and list(index["row"]) == [0, 1, 2, 3, 0, 1, 2]
    assert list(index["image_id"]) == [*some(4, seed=2)[1]["image_id"], *some(3, seed=1)[1]["image_id"]]
    assert pixels.filename != images.memmap([first, second])[0].filename
    assert pixels.filename == images.memmap([second, first])[0].filename


def test_the_memmap_refuses_mixed_sizes_and_repeated_or_absent_keys():
    small, large = kept(2, 8), kept(2, 16)
    with pytest.raises(ValueError, match="px"):
        images.memmap([small, large])
    for keys in ([], [small, small]):
        with pytest.raises(ValueError, match="different shard keys"):
            images.memmap(keys)
    with pytest.raises(FileNotFoundError, match="shard/none"):
        images.memmap([small, "none"])


def test_photographs_are_cut_into_shards_whose_keys_follow_content_and_not_place(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "SHARD_IMAGES", 2)
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for i in range(5):
            Image.fromarray(gradient(20 + i, 30)).save(tmp_path / place / f"{i}.png")
    rows = pd.DataFrame(
        {"image_id": list("abcde"), "path": [f"{i}.png" for i in range(5)], "file_sha256": list("vwxyz")},
        index=[9, 8, 7, 6, 5],
    )
    where = images.keep_shards(rows, tmp_path / "here", 16)
    assert list(where["row"]) == [0, 1, 0, 1, 0] and list(where.index) == [9, 8, 7, 6, 5]
    assert where["unit"].nunique() == 3
    assert list(images.keep_shards(rows, tmp_path / "there", 16)["unit"]) == list(where["unit"])
    assert not set(images.keep_shards(rows, tmp_path / "here", 8)["unit"]) & set(where["unit"])
    found, pixels = images.read_shard(where["unit"][7])
    assert list(found["image_id"]) == ["c", "d"] and list(found.columns) == ["image_id", "sha256"]
    assert np.array_equal(pixels[0], images.prepare(gradient(22, 30), 16))


# What one tiny shard of a fixed picture and its memmap hold, under this Pillow and kind of processor, for this RECIPE.
PINNED = {
    "recipe": 1,
    "pillow": "13.0.0",
    "cpu": "AVX512",
    "tar": "2f2501d80c88db363272f27010edd3367f85ff525a1307564312cfcdada972de",
    "memmap": "06f48f36f6d32f034a9b2e6e2d8f3208a74db5c7730d7e6e0e68408bcdf9cb83",
}


def test_the_bytes_of_a_shard_change_only_with_its_recipe(tmp_path):
    here = {"pillow": store.pins()["pillow"], "cpu": torch.backends.cpu.get_cpu_capability()}
    if here != {name: PINNED[name] for name in here}:
        pytest.skip(f"pinned under {PINNED['pillow']} and {PINNED['cpu']}, here is {here}")
    Image.fromarray(gradient()).save(tmp_path / "a.png")
    key = images.keep_shard(pd.DataFrame({"image_id": ["a"], "path": ["a.png"], "file_sha256": ["0"]}), tmp_path, 24)
    npy = Path(images.memmap([key])[0].filename)
    made = {
        "recipe": images.RECIPE,
        "tar": digest_file(store.unit_dir("shard", key) / "images.tar"),
        "memmap": digest_file(npy),
    }
    assert made == {name: PINNED[name] for name in made}, "the bytes changed: raise images.RECIPE and pin again"
