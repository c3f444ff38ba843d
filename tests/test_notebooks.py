"""The notebooks and their parameter files: clean, documented, complete; and the smoke profile through papermill."""

import json
import re

import nbformat
import pandas as pd
import papermill
import pytest
import yaml

from skinsyn import trace
from skinsyn.report import numbers
from skinsyn.report.ledger import COLUMNS
from skinsyn.report.verdicts import DIRECTIONS
from skinsyn.run import params, paths, pipeline, tables

ROOT = paths.project_root()
NOTEBOOKS = params.notebooks()
PROFILES = ("smoke", "demo", "pad_ufes_20", "fitzpatrick17k", "ddi")
STEMS = [notebook.stem for notebook in NOTEBOOKS]
STUDY = [stem for stem in STEMS if not stem.startswith(pipeline.BENCHMARKS)]  # what `make paper` runs


def test_the_study_is_there():
    assert {
        "01_data_prep",
        "02_dreambooth",
        "03_generation",
        "04_training_grid",
        "05_fairness_stats",
        "05b_description",
        "08_paper",
    } <= set(STEMS)
    assert set(PROFILES) <= set(params.profiles())


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=STEMS)
def test_a_notebook_is_committed_clean_and_teaches(notebook):
    book = nbformat.read(notebook, as_version=4)
    nbformat.validate(book)
    assert book.cells[0].cell_type == "markdown" and book.cells[0].source.startswith("# ")
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in book.cells) == 1
    for before, cell in zip(book.cells, book.cells[1:], strict=False):
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert before.cell_type == "markdown", f"a code cell without a paragraph before it:\n{cell.source[:200]}"
            assert len(cell.source.splitlines()) <= 40, f"longer than a screen:\n{cell.source[:200]}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=STEMS)
def test_every_parameter_has_a_type_and_a_meaning(notebook):
    for name, about in params.declared(notebook).items():
        assert about["help"], f"{name} of {notebook.name} says nothing of itself"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_names_itself_and_notebooks_only(profile):
    assert list(params.of_profile(profile)) == STEMS
    files = {file.stem for file in (ROOT / "params" / profile).glob("[0-9]*.yml")}
    assert files <= set(STEMS), "a parameter file without its notebook"
    assert yaml.safe_load((ROOT / "params" / profile / "common.yml").read_text())["profile"] == profile


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=STEMS)
def test_the_parameters_cell_holds_the_demo_profile(notebook):
    cell = next(c for c in nbformat.read(notebook, as_version=4).cells if "parameters" in c.metadata.get("tags", []))
    defaults: dict = {}
    exec(cell.source, {}, defaults)
    defaults.pop("__annotations__", None)
    assert defaults == params.for_notebook("demo", notebook)


def test_published_settings_stand_in_the_published_profiles():
    for profile in ("fitzpatrick17k", "ddi"):
        every = params.of_profile(profile)
        generation = every["03_generation"]
        assert (generation["sampling_steps"], generation["guidance_scale"], generation["mask_fraction"]) == (
            50,
            3.0,
            0.25,
        )
        assert every["01_data_prep"]["image_size"] == 512
        training = every["04_training_grid"]
        assert training["body"] == "tf_efficientnetv2_m.in1k" and training["image_size"] == 224
        tuning = every["02_dreambooth"]
        assert (tuning["learning_rate"], tuning["batch_size"], tuning["epochs"]) == (5.0e-6, 4, 4)


@pytest.fixture
def smoke_run(smoke, monkeypatch):
    monkeypatch.setenv("SKINSYN_RUNS", str(smoke / "runs"))
    monkeypatch.setenv("SKINSYN_FIGURES", str(smoke / "figures"))
    return smoke


def test_smoke_runs_and_then_everything_is_fresh(smoke_run):
    assert pipeline.status("smoke") == [(stem, "") for stem in STUDY]


def test_smoke_tables_agree_with_each_other(smoke_run):
    images = tables.read("smoke", "images", made_by="01_data_prep")
    synthetic = tables.read("smoke", "synthetic", made_by="03_generation")
    predictions = tables.read("smoke", "predictions", made_by="04_training_grid")
    assert images.groupby("cluster_id").split.nunique().max() == 1
    training = set(images[images.split == "train"].image_id)
    assert set(synthetic.parent) <= training, "a synthetic image came from a validation or test image"
    test = images[images.split == "test"]
    assert set(predictions.image_id) <= set(test.image_id)
    per_cell = predictions.groupby(["arm", "run", "task"]).image_id.nunique()
    assert per_cell.groupby("task").nunique().eq(1).all(), "arms were tested on different images"


def test_smoke_writes_the_paper_the_ledger_and_the_numbers(smoke_run):
    folder = paths.figures_dir("smoke")
    assert (folder / "paper.pdf").read_bytes().startswith(b"%PDF")
    page = (folder / "paper.html").read_text()
    assert "phantom" in page and not re.search(r'(?:src|href)="(?:https?:)?//[^"]+\.(?:js|css|png|svg)"', page)
    ledger = pd.read_csv(folder / "08_paper-ledger.csv")
    assert list(ledger.columns) == COLUMNS and set(ledger.direction) <= set(DIRECTIONS)
    assert ledger.magnitude.isin(["not applicable", "not run"]).all(), "phantoms have no published size"
    assert ledger.direction.iloc[6] == "not applicable", "nor a published number of images"
    saved = numbers.read("smoke")
    assert saved and all({"value", "unit", "low", "high", "made_by"} <= set(number) for number in saved.values())
    assert {number["made_by"] for number in saved.values()} <= set(STEMS)


def test_every_figure_has_its_notebook(smoke_run):
    listed = pipeline.figures("smoke")
    assert listed and not [name for name, maker in listed if not maker]
    for name, maker in listed:
        assert name.startswith(maker) or name.startswith(("paper.", "numbers.json")), f"{name} is made by {maker}"


def test_every_number_of_smoke_leads_to_its_cell_and_row(smoke_run):
    held = numbers.read("smoke")
    found = {}
    for name, given in held.items():
        loaded = tables.read("smoke", given["table"], given["table_made_by"]) if given["table"] else None
        assert numbers.contradiction(given, loaded) == "", name
        assert numbers.lookup({}, name) is None, f"{name} is declared"
        cells = {cell.id for cell in nbformat.read(f"notebooks/{given['made_by']}.ipynb", as_version=4).cells}
        assert given["cell"] in cells, name
        found[name] = trace.trace_row("smoke", given)
    assert held["tests.not_estimable"]["table"] is None and held["c6.p"]["table"] == "distances"
    assert held["fidelity.kid"]["cell"] == held["fidelity.floor_vendi"]["cell"] == "zm-numbers"
    assert held["memorised.share"]["cell"] == "zo-numbers"
    # Those whose id the notebook makes from the row: the row must be that very one.
    for name, row in found.items():
        if row and name.startswith("F"):
            ends = {"p": ".p", "p_adjusted": ".p_adjusted", "upper_bound": ".bound"}
            number = name.removesuffix(ends.get(held[name]["column"], ""))
            assert number == f"{row.values['family'].split()[0]}.{row.values['id']}".replace(", ", ".").replace(
                " ", "-"
            )
        if row and name.startswith("accuracy."):
            label = row.values["label"].replace(" + ", "+").replace(", ", ".").replace(" ", "-")
            assert name.endswith(f"{label}.n{row.values['n']}") and ("malignancy" in name) == (
                row.values["task"] != "condition"
            )
    reads = json.loads((paths.run_dir("smoke") / "stamps/05_fairness_stats.json").read_text())["reads"]
    assert "params/smoke/hypotheses.yml" in reads, "a changed file of hypotheses makes 05 stale"
    families = [name for name in found if name.startswith("F")]
    assert all(found[name] and found[name].table == "tests" for name in families)


def test_a_number_is_traced_to_the_images_and_seeds_of_its_arms(smoke_run):
    found = trace.trace("smoke", "F1.malignancy.I-II")
    images, synthetic = found.images, tables.read("smoke", "synthetic", made_by="03_generation")
    made = images[images["parent"].notna()].merge(synthetic, on="image_id", suffixes=("", "_made"))
    assert len(made) and (made["seed"] == made["seed_made"]).all() and made["seed"].max() > 2**53, "seeds are exact"
    cells = found.arms["malignancy synthetic"].cells
    mine = images[(images["role"] == "malignancy synthetic") & (images["use"] == "trained on")]
    assert (
        mine.groupby("run").size().to_dict()
        == (cells.set_index("run")[["n_real", "n_synthetic"]].sum(axis=1)).to_dict()
    )
    tested = images[images["use"] == "tested on"].drop_duplicates("image_id")
    assert len(tested) == found.row.values["images"]
    assert [stem.partition("_")[0] for stem, _, _ in found.inputs] == ["05", "04", "03", "02", "01"]
    text = trace.in_words(found)
    assert (
        "cell zzc-numbers" in text
        and "WRONG" not in text
        and str(made["seed"].iloc[0]) in text
        and "--only 05_ --force" in text
    )
    assert trace.trace("smoke", "ledger.c6").row.table == "distances"


def test_the_paper_links_each_number_to_its_row(smoke_run):
    page = (paths.figures_dir("smoke") / "paper.html").read_text()
    links, anchors = set(re.findall(r'href="#(n-[^"]+)"', page)), re.findall(r'<tr id="(n-[^"]+)"', page)
    assert links and links <= set(anchors) and len(set(anchors)) == len(anchors)
    assert "n-F0.primary" in links and "n-ledger.c1" in links, "cells of tables are links, too"
    cells = json.loads((ROOT / "notebooks" / "05_fairness_stats.ipynb").read_text())["cells"]
    saving = [cell["id"] for cell in cells if 'tables.save(profile, "tests"' in "".join(cell["source"])]
    assert len(saving) == 1 and f"Made by 05_fairness_stats, cell {saving[0]}, table tests" in page
    assert "\ue000" not in page and b"\xee\x80\x80" not in (paths.figures_dir("smoke") / "paper.pdf").read_bytes()


def test_plain_papermill_with_parameter_files_works(smoke_run, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    values = {
        k: v
        for name in ("common", "05_fairness_stats")
        for k, v in yaml.safe_load(open(f"params/smoke/{name}.yml")).items()
    }
    before = tables.path("smoke", "tests").read_bytes()
    papermill.execute_notebook(
        "notebooks/05_fairness_stats.ipynb",
        str(tmp_path / "out.ipynb"),
        values,
        progress_bar=False,
        kernel_name="python3",
    )
    assert tables.path("smoke", "tests").read_bytes() == before, "papermill and the pipeline must agree byte for byte"


@pytest.mark.parametrize("profile", ["fitzpatrick17k", "ddi"])
def test_a_profile_without_its_images_says_what_to_bring(own_runs, monkeypatch, profile, tmp_path):
    monkeypatch.setenv("SKINSYN_DATA", str(tmp_path))
    with pytest.raises(pipeline.NotebookFailed, match=r"(?s)(no data folder|images).*(README|put|Put)"):
        pipeline.run(profile, only=["01"])
