"""Figures: the same bytes twice, titles and notes drawn, made-up tables of every kind, and what cannot be drawn
refused."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinsyn.report import plots
from skinsyn.report.style import PALETTE

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
NAMES = ["annular", "a very long name of a condition", "<script>", "a $ {name \\bad$", "linear"]
GRID = pd.DataFrame(
    [(a, n, r, 0.3 + n / 100 + r / 50) for a in "ab" for n in (2, 8) for r in range(3)],
    columns=["arm", "n", "run", "accuracy"],
)
DOSE = {"x": [0, 1, 10], "y": [0.5, 0.6, 0.62], "low": [0.4, 0.5, 0.55], "high": [0.6, 0.7, 0.7]}
TESTS = pd.DataFrame(
    [
        ("F0", "good", 5, 1, 9, 0.01, "gain"),
        ("F0", "open", 1, -3, 5, 0.5, ""),
        ("F1", "gone", *[np.nan] * 4, "not run"),
    ],
    columns=["family", "id", "estimate", "low", "high", "p_adjusted", "verdict"],
)
ONE_SIDED = TESTS.assign(
    alternative=["less", "two-sided", "less"], upper_bound=8.0, margin=3.0, low_simultaneous=[np.nan, -4, np.nan],
    high_simultaneous=[np.nan, 6, np.nan],
)  # fmt: skip
FIGURES = {
    "contact_sheet": lambda **k: plots.contact_sheet(PICTURES, NAMES, columns=3, **k),
    "sheet_with_parents": lambda **k: plots.sheet_with_parents(
        PICTURES, {"inpaint": PICTURES, "two": PICTURES[:, None]}, NAMES, **k
    ),
    "before_after": lambda **k: plots.before_after(PICTURES, PICTURES, NAMES, PICTURES, **k),
    "counts": lambda **k: plots.counts(
        pd.DataFrame(
            {
                "condition": NAMES,
                "fst_group": ["I-II", "unknown", "V-VI", "x", "I-II"],
                "split": "train",
                "images": range(5),
            }
        ),
        **k,
    ),
    "flow": lambda **k: plots.flow(pd.DataFrame({"stage": NAMES, "images": [9, 9, 5, 4, 0]}), **k),
    "losses": lambda **k: plots.losses(
        pd.DataFrame(
            [(c, t, s, 1 / (s + 1)) for c in NAMES for t in "ab" for s in range(4)],
            columns=["condition", "task", "step", "loss"],
        ),
        **k,
    ),
    "distances": lambda **k: plots.distances(
        pd.DataFrame({"kind": ["paired", "permuted"] * 9, "distance": np.arange(18) / 18}), **k
    ),
    "learning_curves": lambda **k: plots.learning_curves(GRID, **k),
    "forest": lambda **k: plots.forest(TESTS, **k),
    "forest with one-sided tests": lambda **k: plots.forest(ONE_SIDED, **k),
    "dose_response": lambda **k: plots.dose_response(DOSE, None, **k),
    "dose_response with a curve": lambda **k: plots.dose_response(
        DOSE, DOSE, marks={"ED90": 5.0, "none": float("nan")}, **k
    ),
    "accuracy_by_group": lambda **k: plots.accuracy_by_group(
        pd.DataFrame(
            {
                "group": ["V-VI", "I-II"],
                "accuracy": [0.5, 0.7],
                "low": [0.4, np.nan],
                "high": [0.6, np.nan],
                "images": [3, 9],
            }
        ),
        **k,
    ),
}


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINSYN_FIGURES", str(tmp_path))
    return tmp_path / "made_up"


def saved(folder, figure) -> tuple[bytes, bytes]:
    path = plots.save("made_up", figure, "09_x-figure")
    assert path == folder / "09_x-figure.svg"
    return path.read_bytes(), path.with_suffix(".png").read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_same_table_same_bytes(name, figures):
    first, second = (saved(figures, FIGURES[name](note="Phantoms, not patients")) for _ in range(2))
    assert first == second
    svg, png = first
    assert b"<dc:date>" not in svg and b"matplotlib.org" not in svg.split(b"<g ")[0]
    assert b"<text" not in svg  # letters are paths: no font of the reader's machine is needed
    picture = Image.open(io.BytesIO(png))
    assert picture.width >= 900 and "Software" not in picture.info
    drawn = FIGURES[name](title="A title of its own", note="A note").findobj(match=lambda a: hasattr(a, "get_text"))
    assert {"A title of its own", "A note"} <= {text.get_text() for text in drawn}


def test_the_callers_settings_change_nothing(figures):
    import matplotlib as mpl

    before = saved(figures, plots.flow(pd.DataFrame({"stage": ["a"], "images": [1]})))
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.grid": False, "savefig.dpi": 10}):
        assert saved(figures, plots.flow(pd.DataFrame({"stage": ["a"], "images": [1]}))) == before


def test_a_mark_is_filled_only_where_the_adjusted_p_is_small():
    marks = {
        line.get_ydata()[0]: line.get_markerfacecolor()
        for line in plots.forest(TESTS).axes[0].lines
        if line.get_marker() == "o"
    }
    assert marks == {1: PALETTE[0], 2: "white"}
    words = [text.get_text() for text in plots.forest(TESTS).axes[0].texts]
    assert "not run" in words and "p = 0.010" in words


def test_bars_have_the_lengths_of_the_table():
    frame = pd.DataFrame(
        {"condition": ["b", "a", "a"], "fst_group": ["I-II", "I-II", "V-VI"], "split": "test", "images": [4, 2, 3]}
    )
    (ax,) = plots.counts(frame).axes
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 2), (0, 4), (2, 3), (4, 0)]


def test_what_cannot_be_drawn_is_refused(figures):
    with pytest.raises(ValueError, match="no column 'images'"):
        plots.flow(pd.DataFrame({"stage": ["a"]}))
    with pytest.raises(ValueError, match="no rows"):
        plots.losses(pd.DataFrame(columns=["condition", "task", "step", "loss"]))
    with pytest.raises(ValueError, match="5 images with 1 labels"):
        plots.contact_sheet(PICTURES, ["a"])
    with pytest.raises(ValueError, match="uint8"):
        plots.contact_sheet(PICTURES / 255, NAMES)
    with pytest.raises(ValueError, match="expected 5 images"):
        plots.sheet_with_parents(PICTURES, {"inpaint": PICTURES[:2]}, NAMES)
    with pytest.raises(ValueError, match="outside its folder"):
        plots.save("made_up", plots.forest(TESTS), "../../escaped")


def test_a_one_sided_test_never_has_a_filled_mark_and_is_named():
    """A filled mark reads as a gain, which "the gain is below the margin" is not."""
    one_sided = ONE_SIDED.head(1)  # its adjusted p is .01
    (axes,) = plots.forest(one_sided).axes
    marks = {
        line.get_marker(): line.get_markerfacecolor() for line in axes.lines if line.get_marker() not in ("None", "")
    }
    assert marks["s"] == "white" and "o" not in marks and "|" in marks
    ends = [line.get_xdata() for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    assert any(list(pair) == [5, 8] for pair in ends), "from the estimate to the bound"
    assert "one-sided test" in axes.get_xlabel() and "one-sided p" in "".join(text.get_text() for text in axes.texts)
    two_sided = plots.forest(ONE_SIDED.iloc[1:2]).axes[0]
    drawn = [segment[:, 0].tolist() for lines in two_sided.collections for segment in lines.get_segments()]
    assert [-4, 6] in drawn and "simultaneous" in two_sided.get_xlabel()
