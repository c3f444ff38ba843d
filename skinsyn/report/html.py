"""The paper as one HTML file that needs nothing else: figures inside, every word escaped, no script."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from .ledger import VERDICTS
from .links import linked

__all__ = ["render"]

QUALITY = 80  # of WebP, as in the gallery
ASSETS = Path(__file__).parents[1] / "assets" / "paper"


def render(title: str, subtitle: str, blocks: Sequence[dict], gallery: Mapping) -> str:
    """HTML of the blocks of `manuscript.blocks`, and of the gallery of `gallery.collect` where a block places it.

    Figures are SVG in `data:` images, which browsers draw without running what may stand in them; photographs inside
    are lossy WebP here, since the page is committed and opened on telephones (the figures' own files stay lossless).
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    filled = [
        _with_links(block)
        | ({"data": _data(block["file"])} if block.get("file") else {"missing": block.get("missing")})
        for block in blocks
    ]
    # Our own files, the only text that is not escaped.
    css = Markup("\n".join((ASSETS / name).read_text().strip() for name in ("paper.css", "gallery.css")))
    return environment.get_template("paper.html.j2").render(
        title=title, subtitle=subtitle, blocks=filled, css=css, verdicts=VERDICTS, gallery=gallery
    )


def _with_links(block: dict) -> dict:
    """The block with its words as escaped HTML, numbers linked to the table that says where each comes from."""
    words: dict[str, Any] = {"text": linked(block["text"])} if "text" in block else {}
    if "rows" in block:
        words["rows"] = [[linked(cell) for cell in row] for row in block.get("page_rows", block["rows"])]
    return block | words | ({"items": [linked(item) for item in block["items"]]} if "items" in block else {})


def _data(file: Path) -> str:
    lighter = re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", _as_webp, file.read_text())
    return "data:image/svg+xml;base64," + base64.b64encode(lighter.encode()).decode()


def _as_webp(png: re.Match) -> str:
    """The matched image as WebP; as it was where that is no smaller, as for a heat map's flat cells."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png[1]))) as picture:
        picture.save(buffer, "WEBP", quality=QUALITY, method=4)
    smaller = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return min(smaller, png[0], key=len)
