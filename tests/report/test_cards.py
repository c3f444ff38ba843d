"""Checklist and cards: filled from what is there, asking the author for the rest, escaped."""

import re

import pandas as pd
import pytest
import yaml

from skinsyn.report import cards, numbers
from skinsyn.run import paths, tables

IMAGES = pd.DataFrame(
    {"image_id": list("abc"), "condition": ["x|y", "<b>", "z"], "source": "phantom", "split": ["train", "test", "test"]}
)


def run_of(profile="tiny"):
    tables.save(profile, "images", IMAGES, made_by="01_data_prep")
    numbers.save(
        profile, "01_data_prep", {"data.test": numbers.Origin(profile, "01_data_prep", "c").computed(2, "images")}
    )
    numbers.save(
        profile, "05_fairness_stats", {"tests.declared": numbers.Origin(profile, "05_fairness_stats", "c").computed(43)}
    )
    one = pd.DataFrame({"split": "test", "variable": "condition", "level": ["x|y", "<b>"], "count": 1, "share": 0.5})
    tables.save(profile, "table_one", one, made_by="05b_description", csv=True)


def test_items_are_filled_from_the_run_or_ask_the_author():
    run_of()
    items = cards.checklist(cards._words("tiny", "A title"), "tiny").set_index(["list", "item"])
    assert {name: len(items.loc[name]) for name in items.index.levels[0]} == {
        "TRIPOD+AI": 52,
        "CLAIM": 42,
        "STARD-AI": 48,
    }
    assert len({re.sub(r"\D", "", number) for number in items.loc["STARD-AI"].index}) == 40
    assert items.loc[("TRIPOD+AI", "17"), "status"] == "needs author"
    assert items.loc[("CLAIM", "4"), "status"] == "needs author", "its file was not written by this run"
    assert items.loc[("CLAIM", "34"), "status"] == "filled from the run"
    assert "05b_description-table_one.csv" in items.loc[("CLAIM", "34"), "where"]
    assert "A title" in items.loc[("CLAIM", "1"), "where"]
    assert items.loc[("CLAIM", "20"), "status"] == "needs author", "the number of training images is not there"
    assert not items["where"].str.contains("not run\\b(?!.*needs author|.*here)").any()


def test_every_item_is_filled_or_asks():
    listed = yaml.safe_load((cards.ASSETS / "checklist.yml").read_text())
    for name, items in listed.items():
        assert len({item["item"] for item in items}) == len(items)
        for item in items:
            assert set(item) <= {"item", "topic", "filled", "author", "file"} and {"filled", "author"} & set(item), (
                name,
                item,
            )


def test_cards_are_written_twice_alike_and_escape():
    run_of()
    first = [path.read_bytes() for path in cards.write("tiny", "08_paper", "A title")]
    again = cards.write("tiny", "08_paper", "A title")
    assert [path.read_bytes() for path in again] == first
    assert [path.name for path in again] == ["08_paper-model_card.md", "08_paper-data_card.md", "08_paper-checklist.md"]
    model, data, listed = (path.read_text() for path in again)
    assert "Phantoms, not patients" in model and "Not for use on patients" in model and "not run" in model
    assert "x\\|y" in data and "&lt;b>" in data and "<b>" not in data and "1 (50 %)" in data
    assert "needs author" in listed and listed.count("| ") > 90


def test_a_run_without_anything_still_says_so():
    model, data, _ = (path.read_text() for path in cards.write("nothing", "08_paper", "x"))
    assert "not run" in model and "needs author" in data and not re.search(r"\bnan\b", model + data)


@pytest.mark.parametrize("name", ["model_card", "data_card", "checklist"])
def test_the_committed_cards_are_of_the_demo(name):
    file = paths.project_root() / "figures" / "demo" / f"08_paper-{name}.md"
    if not file.exists():
        pytest.skip("make paper has not written the demo's cards yet")
    assert "not patients" in file.read_text() or name == "checklist"
