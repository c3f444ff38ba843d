"""Numbers in the paper's text that know their id: a link in the page, plain text in the PDF.

In between, a number carries its id between characters of Unicode's private use, which no text of a paper holds.
"""

import re

from markupsafe import Markup, escape

__all__ = ["linked", "mark", "plain"]

MARKED = re.compile("\ue000(.*?)\ue001(.*?)\ue002", re.DOTALL)


def mark(name: str, text: str) -> str:
    """The text of a number, marked with its id.

    >>> plain(mark("c6.p", "0.005")), linked(mark("c6.p", "0.005"))
    ('0.005', Markup('<a class="number" href="#n-c6.p">0.005</a>'))
    """
    return f"\ue000{name}\ue001{text}\ue002"


def plain(text: str) -> str:
    """The text without its marks."""
    return MARKED.sub(r"\2", text)


def linked(text: str) -> Markup:
    """HTML, escaped, in which each marked number links to its row of the table of numbers (`n-<id>`)."""
    return Markup(MARKED.sub(r'<a class="number" href="#n-\1">\2</a>', str(escape(text))))
