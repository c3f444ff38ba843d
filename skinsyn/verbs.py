"""How a function becomes a verb of `python -m skinsyn`: its name, its docstring as help, its options beside it."""

import argparse
from collections.abc import Callable
from typing import Any

__all__ = ["PARSER", "VERBS", "names", "option", "verb"]

Option = tuple[tuple[str, ...], dict[str, Any]]
Verb = Callable[[argparse.Namespace], int | None]
VERBS: dict[str, Verb] = {}

PARSER = argparse.ArgumentParser(
    prog="python -m skinsyn", description="Run the study's notebooks headlessly, and ask what they would do."
)
_subparsers = PARSER.add_subparsers(dest="verb", required=True, metavar="verb")


def option(*names: str, text: str, **settings: Any) -> Option:
    """An option or argument of a verb, as argparse takes it.

    >>> option("--first", text="only the first rows", type=int)
    (('--first',), {'help': 'only the first rows', 'type': <class 'int'>})
    """
    return names, {"help": text, **settings}


def names(name: str, text: str, metavar: str = "NAME") -> Option:
    """An option of several values.

    >>> names("--only", "these alone")[1]["nargs"]
    '+'
    """
    return option(name, text=text, nargs="+", default=[], metavar=metavar)


def verb(*options: Option) -> Callable[[Verb], Verb]:
    """Register a function as the verb of its name; its docstring is the verb's help."""

    def register(function: Verb) -> Verb:
        name = function.__name__.strip("_").replace("_", "-")
        added = _subparsers.add_parser(name, help=function.__doc__, description=function.__doc__)
        for flags, settings in options:
            added.add_argument(*flags, **settings)
        VERBS[name] = function
        return function

    return register
