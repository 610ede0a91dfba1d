"""Safety rules: what each head scores, in which direction, and on which scale.

A rule set is the YAML list that travels with a model and with every artifact:

    - name: no_threats
      text: The response does not threaten anybody.
      higher_is: better            # or worse
      scale: {lo: 0, hi: 1}        # or {levels: [1, 2, 3, 4, 5]}
      link: identity               # optional: identity | sigmoid | expected_level
      out_of_range: error          # optional: error | clip
      veto: {below: 0.5}           # optional: a response beyond it loses; {above: x} where higher is worse
      points: 2                    # optional: a factor on the rule's weight
"""

import hashlib
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from encore_ray.errors import DataError
from encore_ray.files.drafted import Drafted, read_draft
from encore_ray.files.named import read_named
from encore_ray.files.plain_yaml import NotYaml, parse_yaml

HigherIs = Literal["better", "worse"]
Link = Literal["identity", "sigmoid", "expected_level"]
OutOfRange = Literal["error", "clip"]
BadSide = Literal["below", "above"]

FLOAT32_MAX = 3.4028234663852886e38  # scores are stored as float32: anything larger is infinite there
FLOAT32_MIN = 2.0**-126  # and differences that are smaller lose their digits

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CHOICES = {
    "higher_is": ("better", "worse"),
    "link": ("identity", "sigmoid", "expected_level"),
    "out_of_range": ("error", "clip"),
}
_KEYS = ("name", "text", "higher_is", "scale", "link", "out_of_range", "veto", "points")
_BAD_SIDE: dict[HigherIs, BadSide] = {"better": "below", "worse": "above"}


@dataclass(frozen=True)
class Scale:
    """The values a score can take: an interval, or a finite list of rating levels.

    Attributes:
        lo, hi: the interval's ends, lo < hi; with levels, the first and the last of them.
        levels: ascending rating levels, or None for a continuous scale.
    """

    lo: float
    hi: float
    levels: tuple[float, ...] | None = None

    @property
    def width(self) -> float:
        """hi - lo, in score units, > 0."""
        return self.hi - self.lo

    @classmethod
    def parse(cls, value: Any) -> "Scale":
        """Read ``{lo, hi}`` or ``{levels: [...]}``; raises ValueError that says what is wrong."""
        if not isinstance(value, dict):
            raise ValueError("scale must be {lo: .., hi: ..} or {levels: [..]}")
        if set(value) == {"levels"}:
            levels = value["levels"]
            if not isinstance(levels, list) or len(levels) < 2 or not all(map(_is_number, levels)):
                raise ValueError(f"scale.levels must be a list of two or more finite numbers, found {levels!r}")
            if any(a >= b for a, b in itertools.pairwise(levels)):
                raise ValueError("scale.levels must be strictly ascending")
            _check_interval(levels[0], levels[-1])
            return cls(float(levels[0]), float(levels[-1]), tuple(map(float, levels)))
        if set(value) == {"lo", "hi"}:
            if not _is_number(value["lo"]) or not _is_number(value["hi"]):
                raise ValueError(
                    f"scale.lo and scale.hi must be finite numbers, found {value['lo']!r} and {value['hi']!r}"
                )
            if value["lo"] >= value["hi"]:
                raise ValueError(f"scale.lo must be under scale.hi, found {value['lo']} and {value['hi']}")
            _check_interval(value["lo"], value["hi"])
            return cls(float(value["lo"]), float(value["hi"]))
        raise ValueError(f"scale must have the keys lo and hi, or levels; found {sorted(map(str, value))}")

    def to_dict(self) -> dict[str, Any]:
        if self.levels is not None:
            return {"levels": list(self.levels)}
        return {"lo": self.lo, "hi": self.hi}


@dataclass(frozen=True)
class Veto:
    """What makes a rule a hard one: a response whose score is beyond the limit loses to every response that keeps it.

    Attributes:
        side: below where a higher score is better, above where it is worse.
        limit: a score of just so much keeps the rule; in score units, inside the scale.
    """

    side: BadSide
    limit: float

    @classmethod
    def parse(cls, value: Any, *, higher_is: HigherIs, scale: Scale) -> "Veto":
        """Read ``{below: x}`` or ``{above: x}``; raises ValueError that says what is wrong."""
        side = _BAD_SIDE[higher_is]
        if not isinstance(value, dict) or len(value) != 1 or not set(value) <= {"below", "above"}:
            raise ValueError(f"veto must be {{{side}: x}}, found {value!r}")
        ((found, limit),) = value.items()
        if found != side:
            raise ValueError(
                f"veto must be on the bad side: a higher score is {higher_is}, so {{{side}: x}}; found {value!r}"
            )
        if not _is_number(limit):
            raise ValueError(f"veto.{side} must be a finite number, found {limit!r}")
        can_be_broken = scale.lo < limit if side == "below" else limit < scale.hi
        if not (can_be_broken and scale.lo <= limit <= scale.hi):
            lo, hi = ("over", "up to") if side == "below" else ("from", "under")
            raise ValueError(
                f"veto.{side} must be inside the scale, so that a score can break it and another can keep it: "
                f"{lo} {scale.lo:g}, {hi} {scale.hi:g}; found {limit}"
            )
        return cls(side, float(limit))

    def __str__(self) -> str:
        return f"{self.side} {self.limit:g}"

    def to_dict(self) -> dict[str, float]:
        return {self.side: self.limit}


@dataclass(frozen=True)
class Rule:
    """One safety rule: the meaning of one head's score.

    Attributes:
        name: column-safe identifier, ``[A-Za-z0-9][A-Za-z0-9_.-]{0,63}``.
        text: the rule in words, for judges and for people.
        higher_is: whether a higher score means a better or a worse response.
        scale: declared range or levels of the score.
        link: how a head's raw outputs become a score.
        out_of_range: what `weigh` does with a score outside the scale: stop, or count it in the end cell. Rewards are
            composed of it as it is.
        veto: of a hard rule, which a response may break; None for a rule that only counts by its weight.
        points: prior factor on the weight, > 0; None for 1.
    """

    name: str
    text: str
    higher_is: HigherIs
    scale: Scale
    link: Link = "identity"
    out_of_range: OutOfRange = "error"
    veto: Veto | None = None
    points: float | None = None

    @property
    def polarity(self) -> int:
        """+1 if a higher score means a better response, else -1."""
        return 1 if self.higher_is == "better" else -1

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "text": self.text,
            "higher_is": self.higher_is,
            "scale": self.scale.to_dict(),
            "link": self.link,
            "out_of_range": self.out_of_range,
            **prior_keys(self.veto, self.points),
        }


class RuleSet:
    """An ordered set of rules with unique names; the order is the order of heads and columns.

    Attributes:
        where: the file that they are of, or what else messages call their place; "" where they have none.
        drafted: what that file tells of itself, where it was drafted.
    """

    def __init__(self, rules: Iterable[Rule], *, where: str = "", drafted: Drafted | None = None):
        self.rules, self.where, self.drafted = tuple(rules), where, drafted
        if not self.rules:
            raise DataError("A rule set needs at least one rule; found none.")
        lowered = [name.lower() for name in self.names]
        repeated = sorted({name for name in self.names if lowered.count(name.lower()) > 1})
        if repeated:
            raise DataError(
                f"Rules need names of their own, ignoring case; found {', '.join(repeated)} more than once."
            )

    @property
    def names(self) -> list[str]:
        return [rule.name for rule in self.rules]

    @property
    def place(self) -> str:
        """Where they are, and what of they were drafted."""
        return f"{self.where} ({self.drafted})" if self.drafted else self.where

    @property
    def is_guess(self) -> bool:
        """Whether they were drafted and nobody has changed them since."""
        return self.drafted is not None and not self.drafted.is_edited

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all rules in order: any change of name, text, direction or scale changes it."""
        text = json.dumps(self.to_list(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def scoring_fingerprint(self) -> str:
        """SHA-256 over what decides a score: names in order, links, and the levels that an expected level is taken of.

        Texts, directions, ranges, clipping, vetoes and points say what a score means; correcting them needs no new
        scores.
        """
        heads = [[rule.name, rule.link, rule.scale.levels if rule.link == "expected_level" else None] for rule in self]
        return hashlib.sha256(json.dumps(heads, separators=(",", ":")).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __getitem__(self, index: int) -> Rule:
        return self.rules[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuleSet) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(self.rules)

    def __repr__(self) -> str:
        return f"RuleSet({', '.join(self.names)})"

    def to_list(self) -> list[dict[str, Any]]:
        return [rule.to_dict() for rule in self.rules]

    def to_yaml(self) -> str:
        """The rule list as a file; read back it is the same to the last character."""
        # PyYAML writes U+0085 as it is and reads a space: it must be escaped.
        plain = not any("\x85" in rule.text for rule in self)
        return yaml.safe_dump(self.to_list(), sort_keys=False, allow_unicode=plain, width=100)

    @classmethod
    def from_list(cls, value: Any, *, where: str = "rules") -> "RuleSet":
        """Read a rule list (as from YAML or JSON).

        Args:
            value: a list of mappings, one a rule.
            where: what to call the list in errors, usually its file.

        Raises:
            DataError: naming every problem of every rule at once.
        """
        if not isinstance(value, list) or not value:
            found = "an empty list" if value == [] else type(value).__name__
            raise DataError(f"{where}: expected a list of one or more rules, found {found}.")
        problems: list[str] = []
        rules: list[Rule] = []
        seen: dict[str, int] = {}
        for number, item in enumerate(value, start=1):
            rule, found = _parse_rule(item)
            label = f"rule {number}" + (f" ({item['name']!r})" if isinstance(item, dict) and "name" in item else "")
            problems += [f"{label}: {problem}" for problem in found]
            if rule is None:
                continue
            if rule.name.lower() in seen:
                problems.append(f"{label}: same name as rule {seen[rule.name.lower()]} (names ignore case)")
            seen.setdefault(rule.name.lower(), number)
            rules.append(rule)
        if problems:
            raise DataError(f"{where}: " + "; ".join(problems) + ".")
        return cls(rules)

    @classmethod
    def from_yaml(cls, text: str | bytes, *, where: str = "rules.yaml") -> "RuleSet":
        """Read the content of a rules.yaml; DataError if it is wrong."""
        try:
            value = parse_yaml(text)
        except NotYaml as error:
            raise DataError(f"{where} {error}.") from None
        read = text if isinstance(text, str) else text.decode()
        return cls(cls.from_list(value, where=where), where=where, drafted=read_draft(read))

    @classmethod
    def load(cls, path: str | Path) -> "RuleSet":
        """Read a local rules.yaml; ConfigError if it cannot be read, DataError if it is wrong."""
        return cls.from_yaml(read_named(path, what="the rules in"), where=str(path))


def slug(name: str, taken: Iterable[str] = ()) -> str:
    """A valid rule name made from a foreign label; numbered when `taken` (ignoring case) has it."""
    base = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-")[:60] or "rule"
    used = {other.lower() for other in taken}
    candidate, number = base, 2
    while candidate.lower() in used:
        suffix = f"_{number}"
        candidate, number = base[: 64 - len(suffix)] + suffix, number + 1
    return candidate


def prior_keys(veto: Veto | None, points: float | None) -> dict[str, Any]:
    """The keys ``veto`` and ``points`` of a rule, each only where it is set: without them files stay as they were."""
    return ({"veto": veto.to_dict()} if veto else {}) | ({} if points is None else {"points": points})


def parse_points(value: Any) -> float:
    """Read ``points``; raises ValueError that says what is wrong."""
    if not _is_number(value) or value <= 0:
        remedy = ""
        if _is_number(value):
            remedy = ": turn higher_is to count it the other way" if value else ": to leave the rule out, remove it"
        raise ValueError(f"points must be a finite number above 0, found {value!r}{remedy}")
    return float(value)


def _is_number(value: Any) -> bool:
    # Not math.isfinite, which fails on integers that no float holds; NaN compares false.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _check_interval(lo: float, hi: float) -> None:
    if max(-lo, hi) > FLOAT32_MAX or hi - lo < FLOAT32_MIN:
        raise ValueError(
            f"scale must fit scores in float32 ({FLOAT32_MIN:.2g} to {FLOAT32_MAX:.2g}), found {lo} to {hi}"
        )


def _parse_rule(item: Any) -> tuple[Rule | None, list[str]]:
    if not isinstance(item, dict):
        return None, [f"expected a mapping, found {type(item).__name__}"]
    problems = [f"unknown key {key!r} (known: {', '.join(_KEYS)})" for key in item if key not in _KEYS]
    problems += [f"missing {key!r}" for key in _KEYS[:4] if key not in item]
    name, text = item.get("name"), item.get("text")
    if "name" in item and not isinstance(name, str):
        problems.append(f"name must be a YAML string, found {name!r}: put it in quotes")
    elif isinstance(name, str) and not _NAME.fullmatch(name):
        problems.append("name must match [A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
    if "text" in item and not isinstance(text, str):
        problems.append(f"text must be a string, found {text!r}")
    for key, allowed in _CHOICES.items():
        if key in item and item[key] not in allowed:
            problems.append(f"{key} must be {' or '.join(allowed)}, found {item[key]!r}")
    scale = None
    if "scale" in item:
        try:
            scale = Scale.parse(item["scale"])
        except ValueError as error:
            problems.append(str(error))
    if scale and scale.levels is None and item.get("link") == "expected_level":
        problems.append("link expected_level needs scale.levels")
    veto = points = None
    try:
        if "veto" in item and scale and item.get("higher_is") in _CHOICES["higher_is"]:
            veto = Veto.parse(item["veto"], higher_is=item["higher_is"], scale=scale)
    except ValueError as error:
        problems.append(str(error))
    try:
        points = parse_points(item["points"]) if "points" in item else None
    except ValueError as error:
        problems.append(str(error))
    if problems or scale is None:
        return None, problems
    assert isinstance(name, str) and isinstance(text, str)
    link, out_of_range = item.get("link", "identity"), item.get("out_of_range", "error")
    return Rule(name, text, item["higher_is"], scale, link, out_of_range, veto, points), []
