"""What is measured on pixels is kept, comes in the table's order, and is what its parts say."""

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinsyn import images
from skinsyn.datasets import phantom
from skinsyn.fidelity import pixel_metrics, skin_tone
from skinsyn.run import files, store


@pytest.fixture
def shard(tmp_path):
    phantom.make_dataset(tmp_path / "data", per_condition=1, size=32)
    made = pd.read_csv(tmp_path / "data" / "metadata.csv").rename(columns={"file": "path"})
    made["file_sha256"] = [files.digest_file(tmp_path / "data" / name) for name in made["path"]]
    return images.keep_shard(made, tmp_path / "data", 32)


def test_metrics_come_in_the_tables_order_and_are_kept(shard, monkeypatch):
    rows, pixels = images.read_shard(shard)
    frame = pd.DataFrame({"image_id": rows["image_id"][::-1], "unit": shard}).iloc[:5]
    hashes, tones = pixel_metrics.of_images(frame)
    assert hashes.shape == (5, 64) and list(tones.index) == list(frame.index)
    for place, (index, _) in enumerate(frame.iterrows()):
        assert np.array_equal(hashes[place], imagehash.phash(Image.fromarray(pixels[index])).hash.ravel())
        assert tones.loc[index, "ita"] == skin_tone.measure(pixels[index]).ita
    monkeypatch.setattr(skin_tone, "measure", None)  # a second time, nothing is measured
    assert pixel_metrics.of_images(frame)[1].equals(tones)


def test_a_unit_is_pinned_to_its_recipe(tmp_path):
    """Change RECIPE when this changes. The picture is of whole numbers alone, so that no machine draws another."""
    folder = tmp_path / "one"
    folder.mkdir()
    ramp = (np.arange(24 * 24 * 3).reshape(24, 24, 3) % 97 + 100).astype(np.uint8)
    Image.fromarray(ramp).save(folder / "a.png")
    rows = pd.DataFrame({"image_id": ["a"], "path": ["a.png"], "file_sha256": [files.digest_file(folder / "a.png")]})
    key = pixel_metrics.measure(images.keep_shard(rows, folder, 24))
    kept = pd.read_parquet(store.folder("looks", key) / "looks.parquet")
    assert pixel_metrics.RECIPE == 1 and kept["phash"].iloc[0].hex() == "b66b097c077c0778"
