"""Figures of errors: drawn from the tables alone, the same bytes twice, and a missing column by name."""

import pandas as pd
import pytest

from skinsyn.report import mistakes, plots

CONFUSION = pd.DataFrame(
    [(arm, t, c, 0.9 if t == c else 0.1) for arm in ("real", "both") for t in "ab" for c in "ab"],
    columns=["arm", "y_true", "called", "share"],
)
CALIBRATION = pd.DataFrame(
    {"arm": ["real", "real", "both"], "task": "condition", "sure": [0.5, 0.9, 0.7], "right": [0.4, 0.8, 0.7]}
)


@pytest.mark.parametrize(("draw", "frame"), [(mistakes.confusion, CONFUSION), (mistakes.calibration, CALIBRATION)])
def test_the_same_table_gives_the_same_bytes(draw, frame):
    first, again = (plots.save("tiny", draw(frame, note="Phantoms."), f"04_x-{i}").read_bytes() for i in range(2))
    assert first == again and b"<svg" in first
    with pytest.raises(ValueError, match="has no column 'arm'"):
        draw(frame.drop(columns="arm"))


def test_a_matrix_writes_the_share_of_each_row():
    figure = mistakes.confusion(CONFUSION)
    assert [text.get_text() for text in figure.axes[0].texts] == ["90", "10", "10", "90"]
