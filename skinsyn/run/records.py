"""Records: frozen dataclasses whose fields own the study's settings, with their meaning, unit, range and choices.

A setting is declared once, as a field of its record, and once in the notebook's parameters cell; all else (checks,
keys of kept units, labels, columns) is derived from the field. Example:

    @dataclass(frozen=True)
    class Sampling(Record):
        sampling_steps: int = setting(50, "denoising steps", low=1)
        scheduler: str = setting("dpmsolver++", "diffusers' sampler", choices=("dpmsolver++", "ddim"))

    sampling = Sampling.take(globals())  # from a notebook's parameters cell, whose other names are left alone
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Self

__all__ = ["Record", "nearest", "setting"]


def setting(
    default: Any = dataclasses.MISSING,
    about: str = "",
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: Iterable[Any] = (),
    decides: Iterable[str] = (),
    decides_if_changed: Iterable[str] = (),
) -> Any:
    """A field of a `Record`: what it means, its unit, inclusive range and choices. Mutable defaults are not shared.

    decides: what it decides the bytes of (methods, kinds of unit), so that it is in their keys; see `Record.deciding`.
    decides_if_changed: as `decides`, but in the key only where it is not the default, so that a field that is added
    leaves the keys of before as they are.
    """
    metadata = {"about": about, "unit": unit, "low": low, "high": high, "choices": tuple(choices)}
    metadata |= {"decides": tuple(decides), "decides_if_changed": tuple(decides_if_changed)}
    if isinstance(default, list | dict | set):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def nearest(name: object, known: Iterable[object]) -> str:
    """The end of an error message: the known name that was probably meant, else all of them.

    >>> nearest("ratoi", ["n", "ratio"])
    "did you mean 'ratio'?"
    """
    names = [str(one) for one in known]
    near = difflib.get_close_matches(str(name), names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"


@dataclasses.dataclass(frozen=True)
class Record:
    """Base of all records: checked when made; reads from and writes to plain JSON-able mappings."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            _check(type(self).__name__, field, hints[field.name], getattr(self, field.name))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def read(cls, given: Mapping[str, Any], where: str = "") -> Self:
        """The record of a mapping (YAML, JSON). Raises ValueError naming `where`, the key, and what was expected."""
        at = f"{where}: " if where else ""
        for name in given:
            if name not in cls.names():
                raise ValueError(f"{at}unknown key {name!r}; {nearest(name, cls.names())}")
        hints = typing.get_type_hints(cls)
        try:
            return cls(**{name: _plain(hints[name], value, name) for name, value in given.items()})
        except (ValueError, TypeError) as error:  # TypeError: a field without a default is missing
            raise ValueError(f"{at}{error}") from error

    @classmethod
    def take(cls, namespace: Mapping[str, Any]) -> Self:
        """The record of those names in a larger namespace (a notebook's globals) that are its fields."""
        return cls.read({name: namespace[name] for name in cls.names() if name in namespace})

    def json(self) -> dict[str, Any]:
        """Field → value, as JSON-able values (`read` gives the record back)."""
        return {field.name: _json(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def deciding(self, what: str) -> dict[str, Any]:
        """Field → value, as JSON-able values, of those fields that decide the bytes of `what`: parameters of its key.

        >>> @dataclasses.dataclass(frozen=True)
        ... class Sampling(Record):
        ...     steps: int = setting(50, decides=["text-to-image", "inpaint"])
        ...     strength: float = setting(0.9, decides=["inpaint"])
        ...     scheduler: str = setting("ddim", decides_if_changed=["text-to-image", "inpaint"])
        >>> Sampling().deciding("text-to-image"), Sampling(scheduler="euler").deciding("text-to-image")
        ({'steps': 50}, {'steps': 50, 'scheduler': 'euler'})
        """
        plain = {field.name: field.default for field in dataclasses.fields(self)}
        return {
            field.name: _json(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if what in field.metadata.get("decides", ())
            or (what in field.metadata.get("decides_if_changed", ()) and getattr(self, field.name) != plain[field.name])
        }

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)


def _json(value: Any) -> Any:
    if isinstance(value, Record):
        return value.json()
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    return {key: _json(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def _plain(hint: Any, value: Any, name: str) -> Any:
    """What a field of this type holds for a value out of YAML: 3 for a float is 3.0, a list for a tuple is a tuple, a
    mapping for a record is the record, and an empty one for a record that may be absent is None."""
    parts = (hint, *typing.get_args(hint))
    records = [part for part in parts if isinstance(part, type) and issubclass(part, Record)]
    if records and isinstance(value, Mapping):
        return records[0].read(value, name) if value or types.NoneType not in parts else None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (typing.get_origin(hint) or hint) is tuple and isinstance(value, list):
        return tuple(value)
    return value


def _check(record: str, field: dataclasses.Field, hint: Any, value: Any) -> None:
    """Raises ValueError naming the field, its value and what was expected."""
    said, about = f"{field.name} is {value!r}", field.metadata
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    kinds = tuple(typing.get_origin(part) or part for part in parts)
    wrong = not isinstance(value, kinds) if Any not in kinds else False
    if wrong or (isinstance(value, bool) and Any not in kinds and bool not in kinds):
        raise ValueError(
            f"{record}: {said}, expected {' or '.join(getattr(kind, '__name__', str(kind)) for kind in kinds)}"
        )
    if about.get("choices") and value not in about["choices"]:
        raise ValueError(f"{record}: {said}, expected one of {', '.join(map(str, about['choices']))}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = about.get("low"), about.get("high")
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            ends = [f"{word} {end:g}" for word, end in (("at least", low), ("at most", high)) if end is not None]
            raise ValueError(f"{record}: {said}, expected a finite number {' '.join(ends)}".rstrip())
