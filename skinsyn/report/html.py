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

from . import gallery
from .links import linked
from .verdicts import DIRECTIONS, MAGNITUDES, WORTHWHILE

__all__ = ["render"]

ASSETS = Path(__file__).parents[1] / "assets" / "paper"


def render(title: str, subtitle: str, blocks: Sequence[dict], tiles: Mapping) -> str:
    """HTML of the blocks of `manuscript.blocks`, and the gallery where a block places it; tiles: of `gallery.collect`.

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
        title=title,
        subtitle=subtitle,
        blocks=filled,
        css=css,
        verdicts={*DIRECTIONS, *MAGNITUDES, *WORTHWHILE},
        gallery=tiles,
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
    with Image.open(io.BytesIO(base64.b64decode(png[1]))) as picture:
        return min(gallery.webp(picture), png[0], key=len)
