"""What is tested where nobody declares a hypothesis: every pair of arms, in one Holm family per task."""

import itertools
from collections.abc import Mapping
from typing import Any

from .predictions import Block

__all__ = ["MOST", "hypotheses"]

MOST = 12  # arms of a task; 66 pairs


def hypotheses(prepared: Mapping[str, Block]) -> dict[str, Any]:
    """The sections of a file of hypotheses: each arm of a task against each later one, every cluster the same.

    An arm is named as in the predictions, but that " + " and " - " lose their spaces. Raises ValueError for a task of
    one arm, or of more than MOST.

    >>> import pandas as pd
    >>> from .predictions import REQUIRED, blocks
    >>> table = pd.DataFrame([dict.fromkeys(REQUIRED, "x") | {"arm": arm, "correct": 1} for arm in ("app A", "app B")])
    >>> [one["estimand"] for one in hypotheses(blocks(table))["hypotheses"]]
    ['app A - app B']
    """
    arms: dict[str, dict] = {}
    families, declared = {}, []
    for task, block in prepared.items():
        family, among = ("pairs", "") if len(prepared) == 1 else (f"pairs, {task}", f", {task}")
        names = [str(name) for name in block.arms["arm"]]
        if not 1 < len(names) <= MOST:
            raise ValueError(
                f"task {task!r} has {len(names)} arms; without hypotheses every pair is tested, which takes 2 to "
                f"{MOST}. Declare what to test: -p hypotheses=mine.yml (skinsyn/stats/hypotheses.py explains the file)"
            )
        families[family] = {"correction": "holm"}
        written = {}
        for name, given in zip(names, block.arms["arm"], strict=True):
            written[name] = _plain(name) + among
            if written[name] in arms:
                raise ValueError(f"task {task!r}: two arms would be called {written[name]!r}; rename one")
            arms[written[name]] = {"task": task, "arm": given.item() if hasattr(given, "item") else given}
        for first, second in itertools.combinations(names, 2):
            estimand = f"{written[first]} - {written[second]}"
            one = {"id": f"{_plain(first)} - {_plain(second)}{among}", "family": family, "estimand": estimand}
            declared.append(one | {"average": "micro"})
    return {"arms": arms, "families": families, "hypotheses": declared}


def _plain(name: str) -> str:
    """An arm's name without what separates arms in an estimand."""
    return name.replace(" + ", "+").replace(" - ", "-")
