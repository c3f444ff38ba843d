"""What is stale runs, what is fresh does not, and the reason is told. Real kernels, on a project of two notebooks."""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest

from skinsyn.__main__ import main
from skinsyn.run import files, params, paths, pipeline, store, tables


def total() -> int:
    return int(tables.read("tiny", "total", made_by="02_second").total[0])


def edit(file, cell: int, text: str) -> None:
    book = nbformat.read(file, as_version=4)
    book.cells[cell].source = text
    nbformat.write(book, file)


def reasons(**changed) -> dict[str, str]:
    return dict(pipeline.status("tiny", changed))


def test_freshness_by_content_through_every_kind_of_change(project, capsys):
    assert set(pipeline.run("tiny")) == {"01_first", "02_second"} and total() == 6
    assert (paths.figures_dir("tiny") / "01_first-numbers.csv").read_text() == "n\n0\n1\n2\n"
    assert pipeline.run("tiny") == {} and "01_first: fresh" in capsys.readouterr().out

    edit(project / "notebooks/01_first.ipynb", 0, "Other prose.")
    (project / "notebooks/02_second.ipynb").touch()
    assert reasons() == {"01_first": "", "02_second": ""}

    assert reasons(factor=3) == {"01_first": "", "02_second": "factor changed from 2 to 3"}
    assert set(pipeline.run("tiny", changed={"factor": 3})) == {"02_second"} and total() == 9
    # An upstream rerun that gives the same bytes reruns nothing downstream.
    assert set(pipeline.run("tiny", changed={"factor": 3, "rate": 0.25})) == {"01_first"}
    assert set(pipeline.run("tiny", changed={"factor": 3, "rate": 0.25, "rows": 4})) == {"01_first", "02_second"}
    assert total() == 18

    edit(project / "notebooks/02_second.ipynb", 2, "import pandas as pd\nfrom skinsyn.run import tables, seeds")
    assert reasons(rate=0.25, rows=4, factor=3)["02_second"] == "a code cell changed"


def test_a_damaged_or_missing_artifact_is_made_again(project):
    pipeline.run("tiny")
    file = tables.path("tiny", "numbers")
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    assert "an output changed" in reasons()["01_first"] and "an input changed" in reasons()["02_second"]
    assert set(pipeline.run("tiny")) == {"01_first"}, "the same bytes again must not rerun 02"
    assert file.read_bytes() == whole
    file.unlink()
    assert "an output is missing" in reasons()["01_first"]
    stamp = paths.run_dir("tiny") / "stamps/02_second.json"
    stamp.write_text(stamp.read_text()[:50])
    assert "stamp is damaged" in reasons()["02_second"]
    pipeline.run("tiny")
    assert reasons() == {"01_first": "", "02_second": ""}


def test_an_edited_module_is_named_and_a_comment_is_not_an_edit(project):
    (project / "skinsyn").unlink()
    (project / "skinsyn/run").mkdir(parents=True)
    real = pipeline.__file__.rsplit("/", 1)[0]
    for name in ("__init__", "tables", "files", "paths", "looks", "declaration", "records", "seeds"):
        (project / f"skinsyn/run/{name}.py").write_text(open(f"{real}/{name}.py").read())
    (project / "skinsyn/__init__.py").write_text("")
    pipeline.run("tiny")
    files_py = project / "skinsyn/run/files.py"
    files_py.write_text(files_py.read_text() + "\n# a remark\n")
    assert reasons() == {"01_first": "", "02_second": ""}
    files_py.write_text(files_py.read_text() + "\nEXTRA = 1\n")
    assert reasons()["01_first"] == "modules changed: skinsyn.run.files", "an import of an import must count"


def test_a_failing_notebook_is_kept_shown_and_stops_the_line(project, capsys):
    write = (project / "notebooks/03_third.ipynb").write_text
    write((project / "notebooks/02_second.ipynb").read_text())
    assert main(["run", "--profile", "tiny", "-p", "factor=13"]) == 1
    out = capsys.readouterr()
    assert "02_second.ipynb stopped in cell" in out.err and "AssertionError: unlucky" in out.err
    assert "03_third" not in out.out
    assert (paths.run_dir("tiny") / "notebooks/02_second.ipynb").exists()
    assert reasons(factor=13)["02_second"] == "it has not run to its end"


def test_a_missing_input_names_the_notebook_that_makes_it(project):
    with pytest.raises(pipeline.NotebookFailed, match="made by notebooks/01_first.ipynb"):
        pipeline.run("tiny", only=["02"])


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("01_first", "rowz: 3\nrate: 1", "01_first.yml: unknown parameter 'rowz'; did you mean 'rows'"),
        ("01_first", "rows: three\nrate: 1", "rows = 'three' is str, expected int"),
        ("01_first", "rows: true\nrate: 1", "rows = True is bool, expected int"),
        ("01_first", "rows: 3\nrate: 1e-4", "YAML reads 1e-4 as text: write 1.0e-4"),
        ("common", "profile: tinny", "profile = 'tinny', expected profile: tiny"),
        ("01_first", "rows: [3", "01_first.yml: not YAML"),
        ("01_first", "- rows", "expected `key: value` lines"),
        ("common", "profile: tiny\nrows: 3", "common.yml: unknown parameter 'rows'"),
    ],
)
def test_a_bad_parameter_file_is_refused_before_a_kernel_starts(project, file, text, told, capsys):
    (project / f"params/tiny/{file}.yml").write_text(text)
    assert main(["run", "--profile", "tiny"]) == 2
    assert told in capsys.readouterr().err
    assert not (paths.run_dir("tiny") / "notebooks").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-p", "factr=3"], "unknown parameter 'factr'; did you mean 'factor'"),
        (["-p", "factor=x"], "expected int"),
        (["-p", "factor"], "expected key=value"),
        (["-p", "01.factor=3"], "unknown parameter 'factor'"),
        (["-p", "08.factor=3"], "no notebook 08"),
        (["--profile", "tinny"], "no profile 'tinny'; did you mean 'tiny'"),
        (["--only", "07"], "no such notebook"),
    ],
)
def test_a_bad_call_is_refused_with_the_nearest_name(project, words, told, capsys):
    assert main(["run", "--profile", "tiny", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_parameter_of_one_notebook_alone(project):
    assert params.of_profile("tiny", {"02.factor": 5})["02_second"]["factor"] == 5


def test_floats_given_as_ints_are_one(project):
    assert params.for_notebook("tiny", project / "notebooks/01_first.ipynb")["rate"] == 1.0
    assert reasons() == reasons(rate=1)


def test_figures_lists_makers_and_an_orphan_is_an_error(project, capsys):
    assert main(["figures", "--profile", "tiny"]) == 0
    (paths.figures_dir("tiny") / "99_stray.svg").write_text("<svg/>")
    assert main(["figures", "--profile", "tiny"]) == 1
    out = capsys.readouterr()
    assert "99_stray.svg" in out.err and "01_first-numbers.csv" in out.out


HALF = """
import os, signal, sys, pathlib
from skinsyn.run import files
with files.atomic(pathlib.Path(sys.argv[1])) as half:
    half.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_half_wrote_is_removed_and_nothing_else(project):
    folder = paths.figures_dir("tiny")
    subprocess.run([sys.executable, "-c", HALF, str(folder / "01_first-rates.png")])
    (half,) = folder.iterdir()
    with files.atomic(folder / "02_second-rates.png") as own:
        kept = [own, folder / ".gitignore", folder / f".notes.{os.getpid()}-2024.txt"]
        for file in kept:
            file.write_text("kept")
        pipeline.run("tiny", only=["01"])
        assert not half.exists() and all(file.read_text() == "kept" for file in kept)


def test_two_runs_of_one_profile_do_not_mix(project):
    with pipeline._alone("tiny"), pytest.raises(pipeline.NotebookFailed, match="another process is running"):
        pipeline.run("tiny")


def test_stamps_hold_no_path_outside_the_project_where_it_is_inside(project, monkeypatch):
    monkeypatch.setenv("SKINSYN_RUNS", str(project / "runs"))
    monkeypatch.setenv("SKINSYN_FIGURES", str(project / "figures"))
    pipeline.run("tiny")
    stamp = json.loads((project / "runs/tiny/stamps/02_second.json").read_text())
    assert list(stamp["reads"]) == ["runs/tiny/tables/numbers.parquet"]
    assert pd.read_parquet(project / "runs/tiny/tables/total.parquet").total[0] == 6


def test_a_run_copied_elsewhere_is_judged_by_its_own_files(project, tmp_path, monkeypatch):
    pipeline.run("tiny")
    for name in ("runs", "figures"):
        shutil.copytree(os.environ[f"SKINSYN_{name.upper()}"], tmp_path / "copy" / name)
    stamp = json.loads((paths.run_dir("tiny") / "stamps/01_first.json").read_text())
    assert set(stamp["writes"]) == {"runs/tiny/tables/numbers.parquet", "figures/tiny/01_first-numbers.csv"}
    tables.path("tiny", "numbers").write_bytes(b"of the original")
    assert "an output changed" in reasons()["01_first"]
    for name in ("runs", "figures"):
        monkeypatch.setenv(f"SKINSYN_{name.upper()}", str(tmp_path / "copy" / name))
    assert reasons() == {"01_first": "", "02_second": ""}
    (paths.figures_dir("tiny") / "01_first-numbers.csv").unlink()
    assert reasons()["01_first"] == "an output is missing: figures/tiny/01_first-numbers.csv"


MAKE = """
from skinsyn.run import store
store.keep("generator", "a" * 24, lambda folder: (folder / "losses.parquet").write_bytes(b"made") and None)
"""
READ = """
from skinsyn.run import store
weights = store.folder("generator", "a" * 24) / "losses.parquet"
"""


def test_status_names_kept_units_that_are_gone_or_were_edited(project):
    edit(project / "notebooks/01_first.ipynb", 2, "import pandas as pd\nfrom skinsyn.run import tables\n" + MAKE)
    edit(project / "notebooks/02_second.ipynb", 2, "import pandas as pd\nfrom skinsyn.run import tables\n" + READ)
    pipeline.run("tiny")
    assert reasons() == {"01_first": "", "02_second": ""}
    name, folder = f"runs/store/generator/{'a' * 24}/manifest.json", paths.store_dir() / "generator"
    manifest = folder / ("a" * 24) / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"result": null', '"result": {}'))
    assert reasons() == {"01_first": f"an output changed: {name}", "02_second": f"an input changed: {name}"}
    manifest.write_text(whole)
    shutil.rmtree(folder)
    assert reasons() == {"01_first": f"an output is missing: {name}", "02_second": f"an input is missing: {name}"}
    assert set(pipeline.run("tiny")) == {"01_first"}, "the same bytes again must not rerun 02"


def test_a_flipped_bit_stops_the_notebook_that_reads_it(project):
    edit(project / "notebooks/02_second.ipynb", 2, "import pandas as pd\nfrom skinsyn.run import tables\n" + READ)
    store.keep("generator", "a" * 24, lambda folder: (folder / "losses.parquet").write_bytes(b"made") and None)
    (store.unit_dir("generator", "a" * 24) / "losses.parquet").write_bytes(b"made"[:-1] + b"d")
    with pytest.raises(pipeline.NotebookFailed, match=r"(?s)generator/a+ is damaged.*--force --only 02"):
        pipeline.run("tiny")
