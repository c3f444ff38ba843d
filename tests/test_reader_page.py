"""The reader study's page in a real browser: a whole study answered by keyboard, across a reload, and its CSV
analysed."""

import numpy as np
import pandas as pd
import pytest
from browser import chromium, needs_browser, screenshot

from skinsyn.fidelity import reader_study

pytestmark = [pytest.mark.slow, needs_browser]
NUMBER = 8


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(0)
    key = pd.DataFrame({"item": [f"item{i:02d}" for i in range(NUMBER)], "kind": ["real", "synthetic"] * (NUMBER // 2)})
    key = key.assign(
        condition=["annular", 'a "quoted", one'] * (NUMBER // 2), cluster_id=[f"c{i}" for i in range(NUMBER)]
    )
    key["study"] = reader_study._name(key)
    pictures = rng.integers(0, 256, (NUMBER, 24, 24, 3), dtype=np.uint8)
    (tmp_path / "page.html").write_text(reader_study.page(key, pictures, "Phantoms."))
    key.to_csv(tmp_path / "key.csv", index=False)
    return tmp_path, key


@pytest.mark.parametrize(
    "viewport", [{"width": 360, "height": 740}, {"width": 1280, "height": 900}], ids=["phone", "desk"]
)
def test_a_whole_study_is_answered_by_keyboard(study, viewport):
    folder, key = study
    wrong = []
    with chromium() as browser:
        context = browser.new_context(viewport=viewport, accept_downloads=True)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
        page.goto((folder / "page.html").as_uri())
        page.keyboard.press("Enter")
        assert "name" in page.locator("#complaint").inner_text() and not page.locator("#study").is_visible()
        page.keyboard.type("Ada, MD")
        page.keyboard.press("Enter")
        assert "Image 1 of 8" in page.locator("#place").inner_text()
        page.keyboard.press("Enter")
        assert "real or synthetic" in page.locator("#missing").inner_text(), "an unanswered image is passed"
        for number, row in enumerate(key.itertuples()):
            page.keyboard.press("r" if row.kind == "real" else "s")
            page.keyboard.press("5" if row.kind == "real" else "2")
            page.keyboard.press("Tab")  # from the first group to the conditions
            page.keyboard.press("Space")
            if number == 3:
                page.reload()
                assert "Image 4 of 8" in page.locator("#place").inner_text(), "the place is lost in a reload"
                assert page.locator("input[name=realism]:checked").get_attribute("value") == "2"
                screenshot(page, f"reader-study-{viewport['width']}")
            if number == 5:
                page.keyboard.press("Enter")
                page.keyboard.press("Backspace")
                assert "Image 6 of 8" in page.locator("#place").inner_text()
                assert page.locator("input[name=kind]:checked").count() == 1, "an answer is lost on the way back"
            page.keyboard.press("Enter")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= viewport["width"]
        with page.expect_download() as saved:
            page.keyboard.press("Enter")  # the button to save has the focus
        (folder / "answers").mkdir()
        named = saved.value.suggested_filename  # asked while the browser is there
        saved.value.save_as(folder / "answers" / named)
        context.close()
    assert not wrong and named == "reader-study-Ada_MD.csv"
    found = reader_study.read(folder / "key.csv", folder / "answers")
    assert found.readers == ["Ada, MD"] and (found.answers["kind"].to_numpy() == key["kind"].to_numpy()).all()
    assert set(found.answers["realism"]) == {2, 5} and set(found.answers["condition"]) == {'a "quoted", one'}
    assert reader_study.analyse(found).set_index("measure").loc["accuracy", "estimate"] == 1
