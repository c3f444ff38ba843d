"""The smoke run's paper.html in a real browser: on a telephone, by night, filtered, followed to an image's
provenance."""

import pytest
from browser import chromium, needs_browser, screenshot

pytestmark = [pytest.mark.slow, needs_browser]
TELEPHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
# WCAG 2.2, contrast ratio: of each text in its own colour against the nearest background that is not transparent.
CONTRAST = """() => {
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = parts(c).map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (parts(c).length < 4 || parts(c)[3] > 0) return c; } return 'rgb(255, 255, 255)'; };
  const words = [...document.querySelectorAll('h1, h2, p, a, td, th, dt, dd, figcaption, b, label, legend, li')]
    .filter(e => e.offsetParent && e.textContent.trim());
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return Math.min(...words.map(e => ratio(light(getComputedStyle(e).color), light(behind(e))))); }"""
IMAGES = """() => [...document.images].map(i => ({alt: i.alt, wide: i.naturalWidth, shown: i.offsetParent !== null}))"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser, smoke):
    """Opens the page; at the end, nothing may have gone wrong and nothing may have been asked of any network."""
    opened, wrong = [], []

    def visit(viewport: dict, scheme: str):
        page = browser.new_page(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
        opened.append(page)
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None
        )
        page.goto((smoke / "figures/smoke/paper.html").as_uri())
        return page

    yield visit
    for page in opened:
        page.close()
    assert not wrong


@pytest.mark.parametrize("viewport", [TELEPHONE, DESK], ids=["telephone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable(visit, viewport, scheme):
    page = visit(viewport, scheme)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= viewport["width"], "the page scrolls sideways"
    assert page.evaluate(CONTRAST) >= 4.5
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"
    assert dark == (scheme == "dark")
    smallest = (
        "() => Math.min(...[...document.querySelectorAll('p, td, dd')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert page.evaluate(smallest) >= 12
    name = f"paper-{'telephone' if viewport is TELEPHONE else 'desk'}-{scheme}"
    screenshot(page, name)
    page.evaluate("() => document.querySelector('#gallery').scrollIntoView()")
    screenshot(page, f"{name}-gallery")


def test_every_image_is_there_and_has_words_of_its_own(visit):
    page = visit(DESK, "light")
    page.evaluate("() => document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    page.wait_for_function("() => [...document.images].every(i => i.complete)")
    found = page.evaluate(IMAGES)
    assert found and all(image["wide"] > 0 and len(image["alt"]) > 20 for image in found)
    captions = set(page.locator("figcaption").all_inner_texts())
    assert not captions & {image["alt"] for image in found}
    assert page.locator("#gallery .tile img").count() > 50


def shown(page) -> list[str]:
    return [tile.get_attribute("alt") for tile in page.locator(".tile img").all() if tile.is_visible()]


def test_the_gallery_filters_by_condition_method_and_skin_type(visit):
    page = visit(TELEPHONE, "light")
    every = shown(page)
    page.locator("label", has_text="annular").click()
    assert shown(page) == [alt for alt in every if "of annular," in alt] != []
    page.locator("label").get_by_text("inpaint", exact=True).click()
    both = [alt for alt in every if "of annular, inpaint," in alt]
    assert shown(page) == both != []
    page.locator("label").get_by_text("I-II", exact=True).click()
    assert shown(page) == [alt for alt in both if alt.endswith(("type 1", "type 2"))]
    number = "() => getComputedStyle(document.querySelector('.shown'), '::after').content"
    assert "counter(shown)" in page.evaluate(number) and page.locator(".shown").is_visible()
    for row in page.locator("fieldset").all():
        row.get_by_text("all", exact=True).click()
    assert shown(page) == every
    page.keyboard.press("ArrowRight")  # radio buttons answer to the keyboard
    assert 0 < len(shown(page)) < len(every)


def test_an_image_leads_to_its_provenance_and_back(visit, smoke):
    page = visit(TELEPHONE, "dark")
    tile = page.locator(".tile").nth(3)
    assert not tile.locator(".card").is_visible()
    tile.locator("a.open").click()
    told = tile.locator("dl").inner_text()
    for word in ("source", "seed", "model", "sampling", "prompt", "runs/store/shard/"):
        assert word in told
    assert tile.locator(".parent").is_visible() and "#image-" in page.url
    assert (
        page.evaluate("() => document.documentElement.scrollWidth") <= TELEPHONE["width"]
        and page.evaluate(CONTRAST) >= 4.5
    )
    screenshot(page, "paper-telephone-dark-provenance")
    kept = told.split("runs/store/shard/")[1].split(",")[0]
    assert (smoke / "runs/store/shard" / kept / "manifest.json").exists()
    tile.get_by_text("close").click()
    assert not tile.locator(".card").is_visible()
    page.go_back()
    assert tile.locator(".card").is_visible(), "an image's address can be followed and gone back to"


def test_it_is_small_enough_to_commit(smoke):
    assert (smoke / "figures/smoke/paper.html").stat().st_size < 4_000_000
