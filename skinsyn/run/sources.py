"""What code a notebook depends on: its own code cells and the skinsyn modules that it imports, followed in the
package."""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

from . import paths

__all__ = ["code_cells", "code_digest", "module_digests", "saving_cell"]

PACKAGES = ("skinsyn", "bench")  # whose modules are followed


def code_cells(notebook: Path, parameters: bool = True) -> list[str]:
    """The text of a notebook's code cells, in order; parameters: also of the one with that tag.

    Read as the JSON it is: nbformat takes seconds to import, which each notebook's start would pay.
    """
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    kept = [c for c in cells if parameters or "parameters" not in c["metadata"].get("tags", [])]
    return ["".join(cell["source"]) for cell in kept]


def saving_cell(notebook: Path, table: str) -> str:
    """Id of the code cell that saves a table, by the call that stands in it; '' where not exactly one does."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    call = f'tables.save(profile, "{table}",'
    ids = [cell["id"] for cell in cells if cell["cell_type"] == "code" and call in "".join(cell["source"])]
    return ids[0] if len(ids) == 1 else ""


def code_digest(notebook: Path) -> str:
    """SHA-256 of the notebook's code cells but for the parameters cell: editing prose changes nothing."""
    return hashlib.sha256("\0".join(code_cells(notebook, parameters=False)).encode()).hexdigest()


def _file_of(module: str) -> Path | None:
    base = paths.project_root() / module.replace(".", "/")
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()), None)


def _imported(source: str, package: str) -> set[str]:
    """Names of modules of PACKAGES that the source imports, also inside functions; relative ones from `package`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in PACKAGES and _file_of(name)}


@cache
def _parsed(file: Path, stamp: tuple[int, int]) -> tuple[str, frozenset[str]]:
    """Digest of a module without its comments, and what it imports; `stamp` (time, size) keeps the cache honest."""
    source = file.read_text()
    parts = file.relative_to(paths.project_root()).with_suffix("").parts
    digest = hashlib.sha256(ast.dump(ast.parse(source)).encode()).hexdigest()
    return digest, frozenset(_imported(source, ".".join(parts[:-1])))


def _look(file: Path) -> tuple[str, frozenset[str]]:
    return _parsed(file, (file.stat().st_mtime_ns, file.stat().st_size))


def module_digests(notebook: Path) -> dict[str, str]:
    """Module name → digest of its syntax tree, for every module of PACKAGES that the notebook reaches by imports."""
    waiting = {name for cell in code_cells(notebook, parameters=False) for name in _imported(_without_magics(cell), "")}
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if file := _file_of(name):
            found[name], imports = _look(file)
            waiting |= imports - set(found)
    return found


def _without_magics(cell: str) -> str:
    """The cell without IPython's `%magic` and `!shell` lines, which are not Python."""
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in cell.splitlines())
