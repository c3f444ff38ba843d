"""Numbers in the paper's text that know their id: a link in the page, plain text in the PDF.

In between, a number carries its id between characters of Unicode's private use, which no text of a paper holds.
"""

from markupsafe import Markup, escape

__all__ = ["linked", "mark", "plain"]

OPEN, BETWEEN, CLOSE = "\ue000", "\ue001", "\ue002"


def mark(name: str, text: str) -> str:
    """The text of a number, marked with its id."""
    return f"{OPEN}{name}{BETWEEN}{text}{CLOSE}"


def _parts(text: str) -> list[tuple[str, str, str]]:
    """(text before, id, number) of each marked number, and what follows the last, with an empty id."""
    found, rest = [], text
    while OPEN in rest:
        before, _, rest = rest.partition(OPEN)
        name, _, rest = rest.partition(BETWEEN)
        shown, _, rest = rest.partition(CLOSE)
        found.append((before, name, shown))
    return [*found, (rest, "", "")]


def plain(text: str) -> str:
    """The text without its marks."""
    return "".join(before + shown for before, _, shown in _parts(text))


def linked(text: str) -> Markup:
    """HTML, escaped, in which each marked number links to its row of the table of numbers (`n-<id>`)."""
    link = Markup('{}<a class="number" href="#n-{}">{}</a>')
    return Markup("").join(link.format(*part) if part[1] else escape(part[0]) for part in _parts(text))
