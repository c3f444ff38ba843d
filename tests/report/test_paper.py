"""The paper of a made-up run: same bytes twice, nothing injected, nothing crashes for what is missing."""

import base64
import io
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from skinsyn.report import html, manuscript, numbers, paper, plots
from skinsyn.report.claims import claims
from skinsyn.report.inference import Inference
from skinsyn.report.ledger import ledger
from skinsyn.report.rules import Evidence
from skinsyn.run import files, paths, tables

HOSTILE = "<script>alert('x')</script> #evil[*] & {{ 7*7 }} $x$ \\ §"
RULES = {claim: {"rule": "above", "tests": [claim]} for claim in ("C1", "C3", "C4", "C5")}
RULES |= {
    "C2": {"rule": "bounded", "tests": ["C2"]},
    "C6": {"rule": "nearer"},
    "C7": {"rule": "at least"},
}
TESTS = [
    ("F0 claims", "C1 primary", "gain", 5.25, 1.0, 9.5, 0.004, 0.02, 48, 48, 5, "gain", ""),
    ("F0 claims", "C2 non-superiority", "non-superiority", -0.5, -3, 2, 0.03, 0.06, 48, 48, 5, "not shown", ""),
    ("F0 claims", "C4 transforms", "gain", *[np.nan] * 5, 0, 0, 0, "not run", "no arm with it"),
    (HOSTILE, "C3 malignancy V-VI", "gain", 2.0, *[np.nan] * 4, 3, 1, 5, "not estimable", f"not estimable: {HOSTILE}"),
]


def table_of_tests(names: list[str]) -> pd.DataFrame:
    """TESTS with the columns that are the same for all, and bounds as wide as the intervals."""
    table = pd.DataFrame(TESTS, columns=names).assign(margin=3.0, task="condition", n="8")
    table.loc[table["id"].str.startswith("C3"), "task"] = "malignancy"
    one_sided = table["kind"] == "non-superiority"
    table["alternative"] = np.where(one_sided, "less", "two-sided")
    table["bound"] = np.where(table["p"].notna(), "Holm-compatible", "")
    table["low_adjusted"] = table["low"].where(~one_sided)
    ends = dict.fromkeys(("high_adjusted", "upper_adjusted", "upper_bound"), table["high"])
    return table.assign(**ends, low_simultaneous=np.nan, high_simultaneous=np.nan)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """An empty place for runs and figures; what a run of the profile `made_up` would leave is added by `fabricate`."""
    monkeypatch.setenv("SKINSYN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SKINSYN_FIGURES", str(tmp_path / "figures"))
    return "made_up"


def fabricate(profile: str, source: str = "phantom") -> None:
    conditions, groups = ["annular", HOSTILE], ["I-II", "III-IV", "V-VI"]
    images = pd.DataFrame(
        [
            (f"{i:03}", conditions[i % 2], i % 2 == 1, groups[i % 3], source, ["train", "validation", "test"][i // 48])
            for i in range(144)
        ],
        columns=["image_id", "condition", "malignant", "fst_group", "source", "split"],
    )
    left_over = images.head(1).assign(image_id="left over", split="unused")  # not an image of the study
    tables.save(profile, "images", pd.concat([images, left_over]), "01_data_prep")
    lost = pd.DataFrame({"image_id": ["x", "y"], "stage": "decode", "reason": ["truncated", HOSTILE]})
    tables.save(profile, "attrition", lost, "01_data_prep")
    made = [
        (c, t, "fine-tuned", "tiny", 16, 40, 1.25, np.nan) for c in conditions for t in ("text-to-image", "inpainting")
    ]
    names = ["condition", "task", "generator", "base", "images", "steps", "loss_first", "loss_last"]
    tables.save(profile, "generators", pd.DataFrame(made, columns=names), "02_dreambooth")
    synthetic = pd.DataFrame(
        {"parent": images["image_id"], "method": "inpaint", "generator": "fine-tuned", "flags": ""}
    )
    tables.save(profile, "synthetic", synthetic, "03_generation")
    near = {
        "method": "inpaint",
        "generator": "fine-tuned",
        "paired": 0.2,
        "permuted": 0.3,
        "difference": -0.1,
        "low": -0.125,
        "high": -0.05,
    }
    tables.save(profile, "distances", pd.DataFrame([near | {"p": 0.0002}]), "03_generation")
    cell = {"task": "condition", "n": 8, "method": "none", "generator": "none", "transforms": True}
    curve = cell | {
        "ratio": 0,
        "label": HOSTILE,
        "runs": 5,
        "accuracy": 0.7,
        "low": 0.625,
        "high": np.nextafter(0.775, 0),
    }
    tables.save(profile, "learning_curves", pd.DataFrame([curve]), "04_training_grid")
    tables.save(profile, "cells", pd.DataFrame([cell | {"ratio": 0, "run": r} for r in range(5)]), "04_training_grid")
    names = [
        "family",
        "id",
        "kind",
        "estimate",
        "low",
        "high",
        "p",
        "p_adjusted",
        "images",
        "clusters",
        "runs",
        "verdict",
        "flags",
    ]
    tables.save(profile, "tests", table_of_tests(names), "05_fairness_stats")
    three = numbers.Origin(profile, "03_generation", "18-numbers")
    distances = {f"c6.{name}": three.from_row("distances", {}, name) for name in ("paired", "permuted", "p")}
    numbers.save(profile, "03_generation", distances)
    plots.save(profile, plots.flow(pd.DataFrame({"stage": ["rows", HOSTILE], "images": [9, 7]})), "01_data_prep-flow")
    plots.save(profile, plots.forest(table_of_tests(names)), "05_fairness_stats-forest")
    stamp = {"parameters": {"profile": profile, "prompt": HOSTILE, "steps": 40}}
    files.write_json(paths.run_dir(profile) / "stamps" / "02_dreambooth.json", stamp)


def make(profile: str) -> dict[str, bytes]:
    listed = claims(RULES)
    table = ledger(listed, paper.evidence(profile, before="08"))
    paper.save_numbers(numbers.Origin(profile, "08_paper", "08-numbers"), table, listed)
    written = paper.typeset(profile, f"Paper {HOSTILE}", table, listed, "a note")
    return {path.name: path.read_bytes() for path in written}


def test_same_results_same_bytes(run):
    fabricate(run)
    first, second = make(run), make(run)
    assert first.keys() == {"paper.pdf", "paper.html"} and first == second
    assert first["paper.pdf"].startswith(b"%PDF")
    three = numbers.Origin(run, "03_generation", "18-numbers")
    numbers.save(run, "03_generation", {"c6.paired": three.computed(0.9), "c6.permuted": three.computed(0.95)})
    assert all(make(run)[name] != first[name] for name in first)


def test_html_is_closed_in_itself_and_escaped(run):
    fabricate(run)
    text = make(run)["paper.html"].decode()
    assert "<script" not in text and "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in text
    assert "{{ 7*7 }}" in text  # data is never taken for a template
    assert not re.search(r'(src|href)="(?!data:|#)', text) and "@import" not in text
    alts = re.findall(r'<img src="data:image/svg\+xml;base64,[^"]+" alt="([^"]*)"', text)
    assert len(alts) == 2 and all(alts)
    assert 'name="viewport"' in text and "prefers-color-scheme: dark" in text


def test_photographs_inside_figures_are_lighter_on_the_page_and_flat_cells_are_as_they_were(run, tmp_path):
    noise = np.random.default_rng(0).random((64, 64, 3))
    smooth = gaussian_filter(noise, (3, 3, 0))  # as a photograph is
    sizes = {}
    for name, picture in {"photograph": smooth / smooth.max(), "cells": np.eye(3)}.items():
        figure, axes = plt.subplots()
        axes.imshow(picture)
        figure.savefig(tmp_path / f"{name}.svg")
        plt.close(figure)
        on_page = base64.b64decode(
            html._data(tmp_path / f"{name}.svg").removeprefix("data:image/svg+xml;base64,")
        ).decode()
        sizes[name] = len(on_page) / (tmp_path / f"{name}.svg").stat().st_size
        webp = re.search(r'href="data:image/webp;base64,([^"]+)"', on_page)
        if webp:
            (png,) = re.findall(r'data:image/png;base64,([^"]+)"', (tmp_path / f"{name}.svg").read_text())
            before, after = (np.asarray(opened(text), float) for text in (png, webp[1]))
            assert before.shape == after.shape and np.abs(before - after)[..., :3].mean() < 8
    assert sizes["photograph"] < 0.8 and sizes["cells"] <= 1


def opened(encoded: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA")


def test_numbers_stand_in_the_text(run):
    fabricate(run)
    text = re.sub(r'<a class="number"[^>]*>|</a>', "", make(run)["paper.html"].decode())  # as it is read, without links
    assert "+5.2 points (+1.0 to +9.5)" in text  # 5.25, half to even
    assert "144 images of 2 conditions" in text and "phantoms" in text and "say nothing about patients" in text
    assert (
        "p &lt; 0.001; reproduced" in text and "0.5 (at most +2.0; margin 3.0)" in text and "0.030 (one-sided)" in text
    )
    assert "at most +2.0 points (one-sided bound); C2: not identified" in text and "at 8 real images per class" in text
    assert "size: not applicable" in text and "95 % one-sided bound, Holm-compatible, family of 2" in text
    assert "decode</td><td>truncated</td><td>1" in text
    assert "<td>5</td><td>70.0 (62.5 to 77.5)</td>" in text
    assert "Limitations of PAD-UFES-20" not in text
    assert "<td>\N{MINUS SIGN}0.100 (\N{MINUS SIGN}0.125 to \N{MINUS SIGN}0.050)</td><td>&lt; 0.001</td>" in text


def test_limits_of_pad_ufes_20_are_printed(run):
    fabricate(run, "pad_ufes_20")
    text = make(run)["paper.html"].decode()
    assert "Limitations of PAD-UFES-20" in text and "not estimable" in text and "phantoms" not in text


def test_an_empty_run_says_not_run(run):
    made = make(run)
    text = made["paper.html"].decode()
    assert made["paper.pdf"].startswith(b"%PDF")
    assert "01_data_prep-flow: not run" in text and "the table &#39;tests&#39; is made by 05_fairness_stats" in text
    held = numbers.read(run)
    assert held["ledger.not_run"]["value"] == 7 and held["ledger.not_reproduced"]["value"] == 0


def test_missing_figure_and_extra_figure(run):
    fabricate(run)
    (paths.figures_dir(run) / "01_data_prep-flow.svg").unlink()
    plots.save(run, plots.flow(pd.DataFrame({"stage": ["a"], "images": [1]})), "04_training_grid-learning_curves")
    text = make(run)["paper.html"].decode()
    assert "01_data_prep-flow: not run" in text and "by number of real training images" in text


def test_unknown_block_and_format_are_refused(run, tmp_path):
    bad = tmp_path / "m.yml"
    bad.write_text("- headin: x\n")
    with pytest.raises(ValueError, match="headin"):
        manuscript.blocks(run, {}, lambda name: {}, bad)
    with pytest.raises(ValueError, match="'doc' is not one of"):
        paper.typeset(run, "t", ledger(claims(RULES), Evidence()), claims(RULES), formats=["doc"])


def test_every_number_of_the_manuscript_is_drawn_in():
    """No result is typed into prose: the only digits are names of things."""
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|when: .*|[fF]igures?: .*|#.*", "", manuscript.MANUSCRIPT.read_text())
    allowed = (
        "arXiv 2308.12453",
        "PAD-UFES-20",
        "05_fairness_stats",
        "03_generation",
        "04_training_grid",
        "C1 to C5",
        "C1:",
        "C2:",
        "C3:",
        "C6",
        "C7",
        "ED90",
    )
    for words in allowed:
        text = text.replace(words, "")
    assert not re.findall(r"\d+", text), re.findall(r".{20}\d+.{20}", text)


def test_parameters_are_those_on_record(run):
    fabricate(run)
    stamp = paths.run_dir(run) / "stamps" / "02_dreambooth.json"
    assert "<td>steps</td><td>40</td>" in make(run)["paper.html"].decode()
    files.write_json(stamp, json.loads(stamp.read_text()) | {"parameters": {"steps": 41}})
    assert "<td>steps</td><td>41</td>" in make(run)["paper.html"].decode()


def test_no_sentence_states_another_level_or_margin_than_05_used(run):
    fabricate(run)
    tables.save(run, "inference", Inference(level=0.8, margin=0.05).table(), made_by="05_fairness_stats")
    listed = claims(RULES)
    blocks = paper.describe(run, ledger(listed, paper.evidence(run, before="08")), listed)
    page = make(run)["paper.html"].decode()
    for text in (json.dumps(blocks, ensure_ascii=False, default=str), page):
        assert "80 %" in text and "within 5 points" in text and "≤ 0.2" in text
        assert not re.search(r"95\s*%|≤ 0\.05|\b3 points", text)
    tables.save(run, "inference", Inference().table(), made_by="05_fairness_stats")
    page = make(run)["paper.html"].decode()
    assert "95 %" in page and "within 3 points" in page and "≤ 0.05" in page and "80 %" not in page
