"""Embeddings come in the table's order, untransformed and through the same transforms whenever they are asked for."""

import numpy as np
import pandas as pd

from skinsyn import images
from skinsyn.datasets import phantom
from skinsyn.fidelity import embeddings
from skinsyn.run import files


def test_views_come_in_the_tables_order(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINSYN_RUNS", str(tmp_path / "runs"))
    phantom.make_dataset(tmp_path / "data", per_condition=1, size=32)
    made = pd.read_csv(tmp_path / "data" / "metadata.csv").rename(columns={"file": "path"})
    made["file_sha256"] = [files.digest_file(tmp_path / "data" / name) for name in made["path"]]
    key = images.keep_shard(made, tmp_path / "data", 32)
    frame = pd.DataFrame({"image_id": made["image_id"][::-1][:4], "unit": key}).reset_index(drop=True)
    asked = {"image_size": 32, "threads": 1}
    seen = embeddings.with_transforms(frame, 2, seed=5, **asked)
    assert seen.shape[:2] == (3, 4) and np.array_equal(seen[0], embeddings.of_images(frame, **asked))
    turned = embeddings.with_transforms(frame[::-1], 2, seed=5, **asked)
    assert np.array_equal(turned[:, ::-1], seen) and not np.allclose(seen[1], seen[2])
    assert embeddings.with_transforms(frame, 0, seed=5, **asked).shape[0] == 1
