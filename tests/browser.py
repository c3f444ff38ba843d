"""A real browser for tests: Chromium where there is one, a skip with the reason where not, and where screenshots go."""

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from skinsyn.run import paths

# Without these flags Chromium asks the outside world for updates and lists at every start; root needs --no-sandbox.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and importlib.util.find_spec("playwright")),
    reason="needs Chromium (apt install chromium) and playwright (in requirements.txt)",
)


@contextlib.contextmanager
def chromium() -> Iterator:
    """A headless browser; what its pages print as errors is theirs to check."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


def screenshot(page, name: str) -> None:
    """Keep what the page shows now, for people, in $SKINSYN_SCREENSHOTS or runs/screenshots (git ignores it)."""
    folder = Path(os.environ.get("SKINSYN_SCREENSHOTS") or paths.project_root() / "runs" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")
