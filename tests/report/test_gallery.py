"""The gallery of the paper: an even choice, capped, each image with facts that stand in the store."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_paper import HOSTILE, RULES

from skinsyn import images
from skinsyn.report import gallery, html, manuscript, paper
from skinsyn.report.claims import claims
from skinsyn.report.ledger import ledger
from skinsyn.report.rules import Evidence
from skinsyn.run import files, paths, store, tables

CELL = ["condition", "method", "generator", "fst_group"]


def shard(rows: pd.DataFrame, key: str, about: dict, shade: int = 0) -> pd.DataFrame:
    """Keep one image of plain colour for each row, in a unit of its own; the rows with `unit` and `row`."""
    pixels = np.stack([np.full((8, 8, 3), shade + 10 * i, np.uint8) for i in range(len(rows))])
    store.keep("shard", key, lambda folder: images.write_shard(folder, pixels, rows), about)
    return rows.assign(unit=key, row=range(len(rows)))


def train(folder: Path) -> dict:
    """Weights that nobody draws from."""
    (folder / "losses.parquet").write_bytes(b"losses")
    return {"steps": 80}


@pytest.fixture
def run() -> str:
    """Two real images, and four synthetic ones: two stages of one model, one of another, one of the untouched base."""
    real = pd.DataFrame(
        {"image_id": ["real_a", "real_b"], "condition": ["annular", HOSTILE], "malignant": False, "fst": [2, -1]}
    )
    real = shard(real.assign(fst_group=["I-II", "unknown"], source="phantom", split="train"), "d" * 24, {})
    tables.save("made_up", "images", real, "01_data_prep")
    learned = {"batch_size": 4, "learning_rate": 0.0005, "images": [1, 2, 3]}
    store.keep("generator", "a" * 24, train, learned)
    task = {
        "sampling_steps": 8,
        "strength_outpaint": 0.95,
        "strength_inpaint": 0.97,
        "base": {"name": "/x/tiny", "digest": "ff"},
    }
    parts = []
    for n, (method, key, parent) in enumerate(
        [
            ("inpaint", "a" * 24, 0),
            ("in-then-outpaint", "a" * 24, 0),
            ("text-to-image", "a" * 24, 1),
            ("text-to-image", "", 1),
        ]
    ):
        kind = "fine-tuned" if key else "base"
        row = real.iloc[[parent]][["condition", "fst", "fst_group"]].reset_index(drop=True)
        parent_id = real["image_id"][parent]
        row = row.assign(
            image_id=f"{parent_id}-{method}-{kind}-condition-000", parent=parent_id, method=method, generator=kind
        )
        row = row.assign(generator_key=key, scope="condition", replicate=0, seed=2**62 + n, flags="", made_again=n == 2)
        parts.append(shard(row.assign(prompt=f"An image of {row['condition'][0]}"), str(n) * 24, task, shade=50 * n))
    tables.save("made_up", "synthetic", pd.concat(parts, ignore_index=True), "03_generation")
    return "made_up"


def facts(found: dict, method: str, base: bool = False) -> dict:
    wanted = f"-{method}-{'base' if base else 'fine-tuned'}-"
    return dict(next(tile["facts"] for tile in found["tiles"] if wanted in tile["id"]))


def test_facts_are_those_of_the_store(run):
    found = gallery.collect(run)
    assert found["of"] == len(found["tiles"]) == 4 and found["real"] == ""
    outpainted = facts(found, "in-then-outpaint")
    assert outpainted["seed"] == str(2**62 + 1)  # all digits: a float would lose them
    assert outpainted["first stage"] == "real_a-inpaint-fine-tuned-condition-000"
    assert "strength_outpaint 0.95" in outpainted["sampling"] and "strength_inpaint" not in outpainted["sampling"]
    assert outpainted["source"] == "real_a (annular, skin type 2)"
    assert (
        f"runs/store/generator/{'a' * 24}" in outpainted["model"]
        and f"runs/store/shard/{'1' * 24}, row 0" in outpainted["kept as"]
    )
    assert "3 images, 80 steps" in outpainted["fine-tuning"] and "learning_rate 0.0005" in outpainted["fine-tuning"]
    assert outpainted["base"] == "tiny, weights ff"  # of a folder's name, no path of a machine
    assert (
        "first stage" not in facts(found, "inpaint") and "strength_inpaint 0.97" in facts(found, "inpaint")["sampling"]
    )
    drawn = facts(found, "text-to-image")
    assert "made again" in drawn and "strength" not in drawn["sampling"] and "skin type unknown" in drawn["source"]
    untouched = facts(found, "text-to-image", base=True)
    assert untouched["model"] == "the untouched base" and "fine-tuning" not in untouched


def test_images_and_sources_are_the_right_ones(run):
    found = gallery.collect(run)
    shown = {tile["id"].split("-", 1)[1]: tile for tile in found["tiles"]}
    for number, name in enumerate(["inpaint-fine-tuned", "in-then-outpaint-fine-tuned", "text-to-image-fine-tuned"]):
        tile = shown[f"{name}-condition-000"]
        picture = Image.open(io.BytesIO(base64.b64decode(tile["image"].partition(",")[2])))
        assert picture.format == "WEBP" and abs(np.asarray(picture).mean() - 50 * number) < 4
        assert found["parents"][tile["parent"]]["id"] == tile["id"].split("-")[0]
        values = found["filters"]
        assert values["condition"][tile["picks"]["condition"]] in tile["alt"]
        assert values["method"][tile["picks"]["method"]] in tile["alt"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*(st.sampled_from("abc") for _ in CELL)), min_size=1, max_size=60), st.integers(1, 40))
def test_the_choice_is_even_and_capped(cells, limit):
    frame = pd.DataFrame(cells, columns=CELL).assign(image_id=[f"i{n}" for n in range(len(cells))])
    chosen = gallery.pick(frame, limit)
    assert len(chosen) == min(limit, len(frame)) and chosen["image_id"].is_unique
    held, taken = frame.groupby(CELL).size(), chosen.groupby(CELL).size()
    taken = taken.reindex(held.index, fill_value=0)
    assert (taken <= held).all()
    unfinished = taken[taken < held]
    if len(unfinished):  # no combination gives another image while one that has more to give lies behind
        assert taken.max() <= unfinished.min() + 1
    mixed = frame.sample(frac=1, random_state=1)
    assert gallery.pick(mixed, limit)["image_id"].tolist() == chosen["image_id"].tolist()


def test_the_page_says_how_many_of_how_many_and_stays_closed(run, monkeypatch):
    page = html.render("t", "s", [{"kind": "gallery", "text": ""}], gallery.collect(run, limit=3))
    assert "3 of 4 synthetic images" in page and page.count('class="tile ') == 3
    assert "<script" not in page and "&lt;script&gt;" in page  # of the hostile condition's name
    assert not re.search(r'(src|href)="(?!data:|#)', page) and not re.search(r"url\((?!data:)", page)
    assert set(re.findall(r'href="#(image-[^"]+)"', page)) == set(re.findall(r'id="(image-[^"]+)"', page))
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and set(re.findall(r'label for="([^"]+)"', page)) <= set(ids)
    assert "licence" not in page


def test_photographs_carry_their_licence(run):
    real = tables.read(run, "images", "01_data_prep")
    tables.save(run, "images", real.assign(source="pad_ufes_20"), "01_data_prep")
    page = html.render("t", "s", [{"kind": "gallery", "text": ""}], gallery.collect(run))
    assert "photographs of PAD-UFES-20" in page and "licence" in page


def test_without_images_it_says_so(run):
    tables.path(run, "synthetic").unlink()
    assert "not run" in gallery.collect(run)["missing"]
    tables.save(run, "synthetic", pd.DataFrame({"image_id": ["x"]}), "03_generation")
    assert "'parent'" in gallery.collect(run)["missing"]


def test_the_paper_notes_what_it_shows_as_its_input(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SKINSYN_ACCESS_LOG", str(tmp_path / "log"))
    first = paper.typeset(run, "t", ledger(claims(RULES), Evidence()), claims(RULES))[1].read_bytes()
    read = [path for verb, path in map(json.loads, (tmp_path / "log").read_text().splitlines()) if verb == "read"]
    assert str(store.unit_dir("shard", "1" * 24) / "manifest.json") in read
    assert str(manuscript.MANUSCRIPT.parent) in read, "words and looks are inputs as well"
    assert paper.typeset(run, "t", ledger(claims(RULES), Evidence()), claims(RULES))[1].read_bytes() == first
    assert files.digest_tree(manuscript.MANUSCRIPT.parent) and paths.figures_dir(run).exists()


def test_every_known_figure_has_alternative_text_of_its_own():
    import yaml

    known = yaml.safe_load((manuscript.MANUSCRIPT.parent / "figures.yml").read_text())
    committed = {f.stem.partition("-")[2] for f in (paths.project_root() / "figures/demo").glob("*.svg")}
    assert committed <= set(known), "a figure without words: add it to skinsyn/assets/paper/figures.yml"
    alts = [about["alt"] for about in known.values()]
    assert all(len(alt) > 40 for alt in alts) and len(set(alts)) == len(alts)
    assert not set(alts) & {about.get("caption") for about in known.values()}
