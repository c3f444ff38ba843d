"""What a profile declared: params/<profile>/declaration.json, a list of declarations that is only appended to.

Each declaration holds all of its content in readable form, a digest per part, and a `chain` over itself and the one
before it, so that an edit by hand is noticed when the file is read. Whoever rewrites the whole file, or deletes it, is
not noticed: it is a local record, as trustworthy as the version control that it is committed to.
"""

import getpass
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import files, paths, seeds
from .records import Record, setting

__all__ = ["Declaration", "append", "bare", "digests", "in_force", "invoker", "now", "path", "read"]

DERIVED = ("sentence", "called")  # of a hypothesis and of an arm in it: they follow from the rest, or decide nothing
NONE = "none"  # the digest of the declaration in force where nothing is declared


@dataclass(frozen=True, kw_only=True)
class Declaration(Record):
    """One declaration; `content` and `digests` are those of `stats.declaration.content` and `digests`."""

    date: str = setting(about="when it was made, UTC, ISO 8601")
    by: str = setting(about="whose name git or the login gave; not verified")
    automatic: bool = setting(False, "the package's defaults, declared by no person")
    looks: int = setting(0, "states of the test predictions that had been read by then", low=0)
    first_look: str = setting("", "when the first of them was read; '' where none was, or no log says when")
    note: str = setting("", "what else a reader should know")
    content: dict = setting(about="part → what is declared")
    digests: dict = setting(about="part → digest of it")
    chain: str = setting("", "digest of this declaration and of the one before it")

    def linked(self, before: str) -> str:
        """The chain that this declaration must carry after the one whose chain is `before` ('' for none)."""
        return seeds.digest(before, {name: value for name, value in self.json().items() if name != "chain"})


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def invoker() -> str:
    """The user's name as git has it, else the login; nobody verifies it."""
    try:
        asked = subprocess.run(
            ["git", "config", "user.name"], cwd=paths.project_root(), capture_output=True, text=True, timeout=10
        )
        name = asked.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):  # no git here
        name = ""
    try:
        return name or getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return "unknown"


def path(profile: str) -> Path:
    """Where the declarations of a profile lie; those of a variant, which has no folder, beside its file.

    >>> path("demo").relative_to(paths.project_root()).as_posix()
    'params/demo/declaration.json'
    """
    folder = paths.project_root() / "params" / profile
    beside = folder.with_name(f"{profile}.yml").exists()
    return folder.with_name(f"{profile}.declaration.json") if beside else folder / "declaration.json"


def digests(content: Mapping[str, Any]) -> dict[str, str]:
    """Part → digest, of each family, hypothesis, sensitivity analysis and verdict rule, and of each other part.

    The sentence of a hypothesis follows from the rest, and what an arm is called decides nothing.

    >>> list(digests({"margin": 0.03, "families": {"F0": {"correction": "holm", "hypotheses": {"primary": {}}}}}))
    ['margin', 'family F0', 'hypothesis F0: primary']
    """
    found = {}
    for part, value in content.items():
        if part == "families":
            for family, about in value.items():
                found[f"family {family}"] = _digest(about)
                members = about.get("hypotheses", {})
                found |= {f"hypothesis {family}: {name}": _digest(one) for name, one in members.items()}
        elif part in ("sensitivity", "verdict_rules"):
            found |= {f"{part.replace('_', ' ').rstrip('s')} {name}": _digest(one) for name, one in value.items()}
        else:
            found[part] = _digest(value)
    return found


def _digest(value: Any) -> str:
    return seeds.digest(bare(value))[:16]


def bare(value: Any) -> Any:
    """JSON-able content without what follows from the rest."""
    if isinstance(value, Mapping):
        return {key: bare(one) for key, one in value.items() if key not in DERIVED}
    return [bare(one) for one in value] if isinstance(value, list) else value


def read(profile: str) -> list[Declaration]:
    """The declarations of a profile in order; [] where it has none. The file, or its absence, is noted as an input.

    Raises ValueError naming the file and the declaration that was edited by hand or cannot be read.
    """
    files.log_access("read", path(profile))
    return _read(profile)


def _read(profile: str) -> list[Declaration]:
    file = path(profile)
    if not file.exists():
        return []
    mend = f"restore it (git checkout -- {paths.portable(file)}); a change is made in the parameters and declared again"
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
        found = [Declaration.read(one, f"declaration {number}") for number, one in enumerate(listed, 1)]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read as declarations ({error}): {mend}") from error
    before = ""
    for number, one in enumerate(found, 1):
        made = digests(one.content)
        wrong = [name for name in sorted({*made, *one.digests}) if made.get(name) != one.digests.get(name)]
        if wrong or one.chain != one.linked(before):
            what = f"{wrong[0]!r} does not have its digest" if wrong else "it does not follow from the one before it"
            raise ValueError(f"{file} was edited by hand: declaration {number}, of {one.date}: {what}; {mend}")
        before = one.chain
    return found


def in_force(profile: str) -> str:
    """The chain of the last declaration, 'none' without one. Nothing is noted as an input."""
    found = _read(profile)
    return found[-1].chain if found else NONE


def append(profile: str, one: Declaration) -> Declaration:
    """Add a declaration to the file of its profile, linked to the one before it; returns it as it is kept."""
    kept = _read(profile)
    linked = one.but(chain=one.linked(kept[-1].chain if kept else ""))
    with files.atomic(path(profile)) as temporary:
        temporary.write_text(_text([record.json() for record in [*kept, linked]]) + "\n", encoding="utf-8")
    return linked


def _text(value: Any, indent: str = "") -> str:
    """JSON with sorted keys, on one line what fits there, so that a declaration can be read and compared."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    if len(indent) + len(line) < 118 or not isinstance(value, dict | list):
        return line
    deeper = f"{indent} "
    if isinstance(value, dict):
        members = [f"{json.dumps(key, ensure_ascii=False)}: {_text(value[key], deeper)}" for key in sorted(value)]
    else:
        members = [_text(one, deeper) for one in value]
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    inner = f",\n{deeper}".join(members)
    return f"{opened}\n{deeper}{inner}\n{indent}{closed}"
