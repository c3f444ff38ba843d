"""What `make docs` is made of: every module and every public name says what it is, with types; and the pages build."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import skinsyn
from skinsyn.run import paths

ROOT = paths.project_root()
MODULES = sorted((ROOT / "skinsyn").rglob("*.py"))


def public(tree: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes that the module offers: those of __all__, or those without a leading underscore."""
    offered = next(
        (ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "__all__"),
        None,
    )
    defined = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    return [n for n in defined if (n.name in offered if offered is not None else not n.name.startswith("_"))]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_and_its_public_names_explain_themselves(file: Path):
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree), "no docstring"
    for node in public(tree):
        assert ast.get_docstring(node), f"{node.name} has no docstring"
        if isinstance(node, ast.FunctionDef):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            untyped = [a.arg for a in every if a.annotation is None and a.arg != "self"]
            assert not untyped, f"{node.name}: {untyped} without type"


def test_citation_names_the_study_the_data_and_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == skinsyn.__version__ and cited["license"] == "MIT"
    assert all({"title", "authors", "year", "doi"} <= set(reference) for reference in cited["references"])
    words = str(cited["references"])
    assert all(name in words for name in ("2308.12453", "PAD-UFES-20", "Fitzpatrick 17k", "sciadv.abq6147"))


def test_ethics_says_what_phantoms_are_not():
    words = " ".join((ROOT / "ETHICS.md").read_text().split())
    for said in (
        "It says nothing about patients",
        "diagnosing anyone",
        "consent",
        "CC BY-NC-SA 3.0",
        "may not be passed on",
    ):
        assert said in words


@pytest.mark.slow
def test_the_pages_of_all_modules_build(tmp_path):
    command = [sys.executable, "-m", "pdoc", "--output-directory", str(tmp_path), "skinsyn"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warn" not in done.stderr and "Error" not in done.stderr
    for file in MODULES:
        parts = file.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts[-1] != "__main__":
            assert (tmp_path / Path(*parts)).with_suffix(".html").exists(), f"no page of {file}"
    page = (tmp_path / "skinsyn/report/gallery.html").read_text()
    assert "nobody chose by eye" in " ".join(page.split()), "a docstring is missing from its module's page"
