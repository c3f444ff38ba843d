"""Figures of the statistics: drawn from tables with gaps, the same bytes twice, refused without their columns."""

import io

import numpy as np
import pandas as pd
import pytest

from skinsyn.report import dashboards

RATES = pd.DataFrame(
    [(g, a, m, 0.5, 0.4, np.nan if g == "V-VI" else 0.6) for g in ("all", "V-VI") for a in ("with", "without")
     for m in dashboards.NAMES],
    columns=["group", "arm", "metric", "estimate", "low", "high"],
)  # fmt: skip
LINES = pd.DataFrame({"group": ["I-II"] * 4, "arm": list("aabb"), "score": [0.1, 0.8] * 2, "observed": [0.2, 0.7] * 2})
PLAN = pd.DataFrame(
    {"runs": [5, 5, 10], "clusters": [50, 100, 50], "detectable": [9, np.nan, 7], "in_hand": [True, False, False]}
)
CELLS = pd.DataFrame({"id": list("abc"), "estimate": [1.0, 5, -3], "low": [-2.0, 1, np.nan], "high": [4.0, 9, np.nan]})
CELLS = CELLS.assign(
    shrunken=[1.2, 3, np.nan], shrunken_low=[-1.0, 0, np.nan], shrunken_high=[3.0, 6, np.nan], mean=1.5
)
FIGURES = {"group_metrics": RATES, "calibration": LINES, "power": PLAN, "shrunken_gains": CELLS.assign(mean=1.5)}


def drawn(name, **options):
    buffer = io.BytesIO()
    getattr(dashboards, name)(FIGURES[name], **options).savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_the_same_twice(name):
    assert drawn(name, note="Phantoms, not patients.") == drawn(name, note="Phantoms, not patients.")
    figure = getattr(dashboards, name)(FIGURES[name], note="Phantoms, not patients.")
    assert figure.get_suptitle() and figure._supxlabel.get_text() == "Phantoms, not patients."
    with pytest.raises(ValueError, match="no column|no rows"):
        getattr(dashboards, name)(FIGURES[name].drop(columns=FIGURES[name].columns[1]))
