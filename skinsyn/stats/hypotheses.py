"""Hypotheses of a study, in params/<profile>/hypotheses.yml (when they were declared: skinsyn/run/declaration.py):

    arms:  # names for settings; each must single out one arm of the grid, and what it leaves open is the grid's
      control: {task: condition, n: 8, ratio: 0, transforms: true}
      synthetic: {like: control, ratio: 10, method: in-then-outpaint, generator: fine-tuned}
    families:  # what is corrected together
      F0 claims: {correction: holm}
      F4 exploratory: {correction: fdr_bh, min_images: 20}  # 10 where none is given
    hypotheses:
      - {id: primary, family: F0 claims, estimand: synthetic - control}
      - {id: C2, family: F0 claims, estimand: synthetic 75 - synthetic, test: non-superiority, margin: 0.03}
      - {id: cell, family: F4 exploratory, estimand: synthetic - control, by: {condition: all, fst_group: [V-VI]}}
      - {id: more than in I-II, …, by: {fst_group: [III-IV, V-VI]}, against: {fst_group: I-II}}
    sensitivity:  # the first hypothesis, but for what is named; run: another run's predictions
      - {id: every image the same, average: micro, count: images}
    dose: {series: synthetic, control: control}  # the ratio of `series` is left open

Keys are the fields of `Hypothesis`, `Family`, `Variant` and `Dose`; settings of arms those of `classifier.arms.Arm`, or
`arm`, its name in the predictions. `like` starts from another arm. Names of arms hold no " + " and no " - ".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import yaml

from skinsyn.classifier.arms import Arm
from skinsyn.run import files, paths
from skinsyn.run.records import Record, nearest, setting

from .families import METHODS

__all__ = ["Dose", "Family", "Hypotheses", "Hypothesis", "Variant", "in_words"]

TESTS = ("superiority", "non-superiority", "equivalence")
AVERAGES = ("macro", "micro")


@dataclass(frozen=True, kw_only=True)
class Family(Record):
    """Hypotheses that are corrected together."""

    correction: str = setting(about="of the p values", choices=METHODS)
    simultaneous: bool = setting(False, "Bonferroni-t intervals beside those of each hypothesis")
    min_images: int = setting(10, "hypotheses on fewer test images are not tested", low=0)

    def __post_init__(self) -> None:
        if self.correction == "max_t":
            raise ValueError("max_t ignores training runs; take another correction, see given_models")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class Hypothesis(Record):
    """A contrast of arms and the test of it.

    >>> one = Hypothesis(id="C1", estimand="few synthetic - few real - many synthetic + many real")
    >>> one.pairs, one.kind
    ([('few synthetic', 'few real'), ('many real', 'many synthetic')], 'difference')
    """

    id: str = setting(about="its name in tables, figures and the ledger")
    family: str = setting("", "what it is corrected with")
    estimand: str = setting(about="accuracies of arms, added and subtracted by ' + ' and ' - '")
    test: str = setting(
        "superiority",
        "superiority: two-sided, of no difference; non-superiority: is it below the margin? equivalence: within it?",
        choices=TESTS,
    )
    average: str = setting("macro", "macro: each class counts the same; micro: each cluster", choices=AVERAGES)
    count: str = setting("clusters", "what counts the same within a class", choices=("clusters", "images"))
    margin: float | None = setting(None, "a proportion of images; where none is given, that of the notebook", high=1)
    by: dict = setting({}, "one hypothesis per value: {column of the images: [values] or all}")
    where: dict = setting({}, "which images: {column: value or [values]}")
    against: dict = setting({}, "minus the same estimand on these images: {column: value or [values]}")

    def __post_init__(self) -> None:
        super().__post_init__()
        added, subtracted = ([name for sign, name in self.terms if sign == wanted] for wanted in "+-")
        if len(added) != len(subtracted) or not all(added + subtracted):
            raise ValueError(f"estimand is {self.estimand!r}, expected as many arms added as subtracted, e.g. 'a - b'")
        if self.margin is not None and not self.margin > 0:
            raise ValueError(f"margin is {self.margin!r}, expected a proportion above 0 (0.03 is 3 points)")

    @property
    def terms(self) -> list[tuple[str, str]]:
        """(sign, name of an arm), as they stand in the estimand."""
        parts = re.split(r" ([+-]) ", f" + {self.estimand}")
        return list(zip(parts[1::2], parts[2::2], strict=True))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The estimand as gains whose sum it is: (arm, arm that is subtracted from it)."""
        added, subtracted = ([name for sign, name in self.terms if sign == wanted] for wanted in "+-")
        return list(zip(added, subtracted, strict=True))

    @property
    def kind(self) -> str:
        """gain (of one arm over another) | difference (of gains) | non-superiority | equivalence."""
        if self.test != "superiority":
            return self.test
        return "difference" if self.against or len(self.pairs) > 1 else "gain"

    def spread(self, values: Mapping[str, Iterable]) -> list["Hypothesis"]:
        """One hypothesis per value, or combination of values, that `by` names. values: what `all` stands for.

        >>> [one.id for one in Hypothesis(id="gain", estimand="a - b", by={"fst_group": ["I-II", "V-VI"]}).spread({})]
        ['gain, I-II', 'gain, V-VI']
        """
        found = [self.but(by={})]
        for column, wanted in self.by.items():
            known = values.get(column, ["all"]) if wanted == "all" else wanted
            found = [
                one.but(id=f"{one.id}, {value}", where={**one.where, column: value}) for one in found for value in known
            ]
        return found

    def sentence(self, arms: Mapping[str, Mapping]) -> str:
        """The hypothesis in words, with its H0 and the settings of the arms that it names.

        >>> Hypothesis(id="C", estimand="a - b", test="equivalence", margin=0.03).sentence({"a": {"n": 8}})
        'C (equivalence, margin 3 points, macro): H0: accuracy of [a: n 8] differs from that of [b] by 3 points or more'
        """
        named = {name: f"[{': '.join(filter(None, [name, in_words(arms.get(name, {}))]))}]" for _, name in self.terms}
        points = f"{100 * (self.margin or 0):g} points"
        about = [self.family, self.test, *([f"margin {points}"] if self.test != "superiority" else [])]
        about += [self.average, *(["each image counts the same"] if self.count == "images" else [])]
        if len(self.terms) == 2:
            first, second = named.values() if len(named) == 2 else list(named.values()) * 2
            left, right = f"accuracy of {first}", f"that of {second}"
        else:
            sum_ = " ".join(f"{sign} {named[name]}" for sign, name in self.terms).removeprefix("+ ")
            left, right = f"the sum of accuracies {sum_}", "0"
        claim = {
            "superiority": f"{left} equals {right}",
            "non-superiority": f"{left} is above {right} by {points} or more",
            "equivalence": f"{left} differs from {right} by {points} or more",
        }[self.test]
        if self.against:
            difference = f"{left} minus {right}" if len(self.terms) == 2 else left
            claim = f"{difference} is the same as where {in_words(self.against)}"
        places = [f"where {in_words(self.where)}"] * bool(self.where)
        places += [
            f"for each {column} ({values if isinstance(values, str) else ', '.join(map(str, values))})"
            for column, values in self.by.items()
        ]
        head = f"{self.id} ({', '.join(filter(None, about))}): H0: {claim}"
        return ", ".join([head, *places])


@dataclass(frozen=True, kw_only=True)
class Variant(Hypothesis):
    """The first hypothesis in a sensitivity analysis, changed in what it names."""

    run: str = setting("", "another run, whose predictions are taken")


@dataclass(frozen=True, kw_only=True)
class Dose(Record):
    """What the dose-response curve is drawn through."""

    series: str = setting(about="name of an arm, whose ratio is left open")
    control: str = setting(about="name of the arm of ratio 0")
    average: str = setting("macro", "as of a hypothesis", choices=AVERAGES)


@dataclass(frozen=True, kw_only=True)
class Hypotheses(Record):
    """All that the file of hypotheses holds; the fields are its sections.

    Raises ValueError for a name that is not known, two hypotheses of one id in a family, and a family without any.
    """

    arms: dict = setting(about="name → settings that single out one arm of the grid")
    families: dict = setting(about="name → Family")
    hypotheses: tuple = setting(about="Hypothesis, the primary one first")
    sensitivity: tuple = setting((), "Variant of the primary one")
    dose: Dose | None = setting(None, "of the dose-response curve")

    def __post_init__(self) -> None:
        super().__post_init__()
        for one in (*self.hypotheses, *self.sensitivity):
            for _, name in one.terms:
                self._known(f"hypothesis {one.id!r}: unknown arm", name, self.arms)
        for one in self.hypotheses:
            self._known(f"hypothesis {one.id!r}: unknown family", one.family, self.families)
        for name in (self.dose.series, self.dose.control) if self.dose else ():
            self._known("dose: unknown arm", name, self.arms)
        for name in self.families:
            ids = [one.id for one in self.of_family(name)]
            if not ids:
                raise ValueError(f"family {name!r} has no hypothesis")
            if twice := [one for one in ids if ids.count(one) > 1]:
                raise ValueError(f"family {name!r} has two hypotheses of the id {twice[0]!r}")

    @staticmethod
    def _known(what: str, name: str, known: Iterable[str]) -> None:
        if name not in known:
            raise ValueError(f"{what} {name!r}; {nearest(name, known)}")

    @classmethod
    def read(cls, given: Mapping[str, Any], where: str = "hypotheses", margin: float | None = None) -> Self:
        """The declarations of a mapping. margin: of hypotheses that need one and name none.

        Raises ValueError naming `where`, the hypothesis, family or arm, and the nearest name that is known.
        """
        for key in given:
            cls._known(f"{where}: unknown key", key, cls.names())
        for key in ("arms", "families", "hypotheses"):
            if not given.get(key):
                raise ValueError(f"{where}: lacks {key!r}")
        arms = {name: _settings(name, given["arms"], where) for name in given["arms"]}
        families = {name: Family.read(about, f"{where}: family {name!r}") for name, about in given["families"].items()}
        hypotheses = [_hypothesis(Hypothesis, about, where, margin) for about in given["hypotheses"]]
        usual = {"estimand": hypotheses[0].estimand, "average": hypotheses[0].average}
        variants = [usual | about for about in given.get("sensitivity") or [{"id": "as declared"}]]
        sensitivity = tuple(_hypothesis(Variant, about, where, margin) for about in variants)
        series, control = hypotheses[0].pairs[0]
        dose = Dose.read(given.get("dose") or {"series": series, "control": control}, f"{where}: dose")
        try:
            return cls(arms=arms, families=families, hypotheses=tuple(hypotheses), sensitivity=sensitivity, dose=dose)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    @classmethod
    def load(cls, path: str, margin: float | None = None) -> Self:
        """The declarations of a YAML file, its path from the project's root; see `read`."""
        file = paths.resolve(path)
        if not file.exists():
            raise FileNotFoundError(
                f"{path}: no such file of hypotheses ({file}); skinsyn/stats/hypotheses.py says how"
            )
        files.log_access("read", file)
        try:
            content = yaml.safe_load(file.read_text())
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not YAML: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path}: expected the keys {', '.join(cls.names())}")
        return cls.read(content, path, margin)

    @property
    def primary(self) -> Hypothesis:
        """The hypothesis that power, tables by skin type and sensitivity analyses are about."""
        return self.hypotheses[0]

    def named(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The settings of these arms. Raises ValueError for a name that is not declared."""
        wanted = list(names)
        for name in wanted:
            self._known("unknown arm", name, self.arms)
        return [self.arms[name] for name in wanted]

    def of_family(self, name: str) -> list[Hypothesis]:
        """The hypotheses of a family, in the order of the file."""
        return [one for one in self.hypotheses if one.family == name]

    def sentences(self) -> list[str]:
        """Each hypothesis in words, family by family."""
        return [one.sentence(self.arms) for name in self.families for one in self.of_family(name)]


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings in one line.

    >>> in_words({"n": 8, "fst_group": ["I-II", "V-VI"]})
    'n 8, fst_group I-II or V-VI'
    """
    texts = {name: " or ".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in settings.items()}
    return ", ".join(f"{name} {text or 'none'}" for name, text in texts.items())


def _hypothesis(kind: type[Hypothesis], about: Mapping, where: str, margin: float | None) -> Hypothesis:
    one = kind.read(about, f"{where}: hypothesis {about.get('id')!r}")
    return one.but(margin=margin) if one.test != "superiority" and one.margin is None else one


def _settings(name: str, arms: Mapping[str, Mapping], where: str, likes: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of a named arm, those of the arm that it is like first."""
    about = dict(arms[name])
    for key in about:
        Hypotheses._known(f"{where}: arm {name!r}: unknown key", key, [*Arm.names(), "arm", "like"])
    if (like := about.pop("like", None)) is None:
        return about
    Hypotheses._known(f"{where}: arm {name!r}: like is unknown arm", like, set(arms) - {name, *likes})
    return {**_settings(like, arms, where, [name, *likes]), **about}
