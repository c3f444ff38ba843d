"""Figures of the open questions: an open end has an arrow, equal counts stand side by side, the same bytes twice."""

import io

import numpy as np
import pandas as pd
import pytest

from skinsyn.report import open_questions

BEST = pd.DataFrame({"id": ["all", "annular", "one run"], "best": [5.0, 0.0, 10.0], "low": [1.0, 0.0, np.nan]})
BEST = BEST.assign(high=[10.0, 1.0, np.nan], top=[True, False, False])
TAIL = pd.DataFrame(
    {"over": ["condition"] * 3 + ["cell"] * 4, "condition": list("abcaabb"), "own": [12] * 3 + [2, 3, 3, 7]}
)
TAIL = TAIL.assign(estimate=range(7), low=-3.0, high=9.0)


def bytes_of(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("draw", "frame"),
    [(open_questions.optimal_ratio, BEST), (open_questions.gain_by_own_images, TAIL)],
    ids=["ratio", "tail"],
)
def test_the_same_table_gives_the_same_picture_and_a_missing_column_is_named(draw, frame):
    assert bytes_of(draw(frame, note="Phantoms.")) == bytes_of(draw(frame, note="Phantoms."))
    with pytest.raises(ValueError, match="low"):
        draw(frame.drop(columns="low"))


def test_an_open_interval_has_an_arrow_and_the_axis_names_the_ratios():
    (axes,) = open_questions.optimal_ratio(BEST).axes
    assert sum(text.arrow_patch is not None for text in axes.texts) == 1
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "5", "10"]
    assert len(axes.collections) == 2, "an interval for each line that has one"


def test_equal_counts_do_not_hide_each_other():
    first, second = open_questions.gain_by_own_images(TAIL).axes
    places = [line.get_xdata()[0] for line in first.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert len(set(places)) == 3 and max(places) - min(places) < 1
    assert second.get_title("left") == "cell"
