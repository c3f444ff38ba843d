"""Level, margin and hypotheses of a run, chosen once, in 05: every verdict, mark and sentence follows them."""

import json
from dataclasses import dataclass
from typing import Self

import pandas as pd

from ..run import files, params, paths, tables
from ..run.records import Record, setting

__all__ = ["Inference", "parameters_on_record"]


@dataclass(frozen=True)
class Inference(Record):
    """Fields as in the parameters cell of 05.

    >>> chosen = Inference(level=0.8, margin=0.05)
    >>> chosen.percent, f"{chosen.alpha:g}", chosen.points
    ('80 %', '0.2', 5.0)
    """

    level: float = setting(0.95, "of every interval; 1 - level is the size of every test", low=0, high=1)
    margin: float = setting(0.03, "smallest gain of interest", unit="proportion of images", low=0, high=1)
    hypotheses: str = setting("", "file of hypotheses, its path from the project's folder")

    @property
    def alpha(self) -> float:
        """Size of every test."""
        return 1 - self.level

    @property
    def percent(self) -> str:
        """The level as text."""
        return f"{100 * self.level:g} %"

    @property
    def points(self) -> float:
        """The margin in percentage points, the unit of the table of tests."""
        return 100 * self.margin

    def table(self) -> pd.DataFrame:
        """One row, saved by 05 with its results."""
        return pd.DataFrame([self.json()])

    @classmethod
    def of_run(cls, profile: str) -> Self:
        """What 05 used in this run, from the table that it saved; the defaults before 05 has run."""
        return cls.saved(profile) if tables.path(profile, "inference").exists() else cls()

    @classmethod
    def saved(cls, profile: str) -> Self:
        """What 05 used in this run. Raises FileNotFoundError before 05 has run."""
        return cls.read(tables.read(profile, "inference", made_by="05_fairness_stats").iloc[0].to_dict())


def parameters_on_record(profile: str) -> dict[str, dict]:
    """Notebook → its parameters, from the stamps that the pipeline keeps; {} where it did not run the notebooks."""
    values = {}
    for notebook in params.notebooks():
        file = paths.run_dir(profile) / "stamps" / f"{notebook.stem}.json"
        if notebook.stem < "08":
            files.log_access("read", file)
            if file.exists():
                values[notebook.stem] = json.loads(file.read_text()).get("parameters", {})
    return values
