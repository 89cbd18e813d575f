"""The rules of a stage (`validate = [...]`): a small parsed language over its fields, and check digits by name.

    net + vat == total                          sums, differences, products, quotients; brackets
    sum(lines.amount) == net                    sum, count, min, max over all rows
    any(lines.kind == 'total')                  whether something holds in one row (any), in each row (all)
    lines.quantity * lines.price == lines.amount    once for each row
    issued <= due; due - issued <= 30           dates in order; days between them, days added
    abs(net - paid) < 1; round(net * 0.19, 2) == vat
    currency == 'EUR' and (iban != null or account != null)

A name is the path of a field (`seller.name`); one with odd letters stands in backticks (`` `net amount` ``),
as may a whole JSON Pointer. Numbers are exact decimals, and so are texts that are plain decimals (`"12.50"`); texts
in the forms of ISO 8601 are dates. A value that is null or missing decides nothing: the rule then says nothing, unless
`and` or `or` is settled without it. Sums leave null out, of no rows they are 0; of rows that are all null, or of
an array that is null, they are unknown. `tolerance` is how far the sides of a comparison of numbers may be apart.
A comparison that can't hold by the schema's types (a date with a number), or that nothing can break, is refused.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pipeline.errors import UsageError
from pipeline.results import Finding, Severity
from pipeline.rules import naming
from pipeline.rules.checks import CHECKS, fault
from pipeline.rules.evaluation import leaves_at, outcomes
from pipeline.rules.parsing import NotARule, parsed, pointed, steps
from pipeline.rules.tree import Node, Path, in_words, is_equation
from pipeline.rules.values import Tolerance, shown

if TYPE_CHECKING:  # a neighbour on the same floor
    from pipeline.schema import Node as Field

__all__ = [
    "CHECKS",
    "MOST_FINDINGS",
    "Check",
    "Rule",
    "Verdict",
    "broken",
    "by_leaf",
    "made",
    "verdicts",
]

#: More findings of one document help nobody.
MOST_FINDINGS: Final = 1000
#: A rule's own name, as findings and --select have it.
NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")
_KEYS: Final = {
    "rule": ("rule", "tolerance", "name", "severity"),
    "check": ("check", "field", "severity"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule over the fields of a stage, by its text; findings have its `name`, else the text."""

    rule: str
    tolerance: str | None = None
    name: str | None = None
    severity: Severity = "error"
    tree: Node | None = default(default=None, compare=False, repr=False)

    @property
    def id(self) -> str:
        """What its findings are called."""
        return self.name or self.rule

    @property
    def is_equation(self) -> bool:
        """Whether it holds by chance only rarely: both sides are equal, and one of them is of the data."""
        return is_equation(_tree(self))

    def to_json(self) -> Any:
        """As the pipeline file has it."""
        return _plain(self, "rule")


@dataclass(frozen=True, slots=True)
class Check:
    """Check digits, by name, of every field of that name, or of one field."""

    check: str
    field: str | None = None
    severity: Severity = "error"
    paths: tuple[Path, ...] = default(default=(), compare=False, repr=False)

    @property
    def id(self) -> str:
        """What its findings are called."""
        return self.check

    @property
    def is_equation(self) -> bool:
        """Check digits rarely fit by chance."""
        return True

    def to_json(self) -> Any:
        """As the pipeline file has it."""
        return _plain(self, "check")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of some leaves together: that it holds, or does not."""

    rule: Rule | Check
    holds: bool
    leaves: tuple[str, ...]
    told: str = ""


def made(given: Sequence[Any], root: "Field", stage: str) -> tuple[Rule | Check, ...]:
    """The rules of a stage, each name of them found in its schema.

    Args:
        given: texts (the name of a check, else a rule) and tables, as `validate` in the pipeline file has
            them; also what this function made.
        root: the tree of the stage's schema.
        stage: its name, for messages.

    Raises:
        UsageError: tells everything that is wrong with them.

    """
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise UsageError(f'stage {stage}: validate is a list: ["iban", "net + vat == total"]')
    found: list[Rule | Check] = []
    wrong: list[str] = []
    for number, each in enumerate(given, start=1):
        try:
            found.append(_one(each, root))
        except ValueError as error:
            wrong.append(f"stage {stage}: validate, {number}: {error}")
    if wrong:
        raise UsageError("\n".join(wrong))
    return tuple(found)


def broken(rules: Sequence[Rule | Check], data: Any) -> list[Finding]:
    """A Finding for each rule that does not hold, and each place where it doesn't; at most 1000.

    Its pointer is the leaf that stands alone on its side, else the first one; the others are `related`.
    An aggregate of more than 100 leaves has its array there.
    """
    return list(islice(_broken(rules, data), MOST_FINDINGS))


def _broken(rules: Sequence[Rule | Check], data: Any) -> Iterator[Finding]:
    for each in verdicts(rules, data):
        if not each.holds:
            pointer, *related = each.leaves or ("",)
            rule = each.rule
            yield Finding(rule.id, pointer, each.told, rule.severity, tuple(related))


def verdicts(rules: Sequence[Rule | Check], data: Any) -> Iterator[Verdict]:
    """What each rule says, at each place where it says something: nothing where a value is missing."""
    for rule in rules:
        if isinstance(rule, Check):
            yield from _checked(rule, data)
            continue
        tolerance = Tolerance(rule.tolerance) if rule.tolerance else None
        for outcome in outcomes(_tree(rule), data, tolerance):
            if outcome.holds is None:
                continue
            told = "" if outcome.holds else f"{rule.rule} does not hold: {outcome.told}"
            leaves = (outcome.pointer, *outcome.related) if outcome.pointer else outcome.related
            yield Verdict(rule, outcome.holds, leaves, told)


def by_leaf(rules: Sequence[Rule | Check], data: Any) -> dict[str, Literal["passed", "failed"]]:
    """What the rules say of each leaf: one that is in any broken rule has failed, one in an equation that holds has passed."""
    told: dict[str, Literal["passed", "failed"]] = {}
    for each in verdicts(rules, data):
        for pointer in each.leaves:
            if not each.holds:
                told[pointer] = "failed"
            elif each.rule.is_equation:
                told.setdefault(pointer, "passed")
    return told


def _checked(rule: Check, data: Any) -> Iterator[Verdict]:
    for path in rule.paths:
        for pointer, value in leaves_at(data, path):
            if value is None or (isinstance(value, str) and not value.strip()):
                continue
            why = fault(rule.check, value)
            told = f"{_value(value)} {why}" if why else ""
            yield Verdict(rule, why is None, (pointer,), told)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return shown(value)
    return str(value) if isinstance(value, bool) or not isinstance(value, int) else "the number"


def _tree(rule: Rule) -> Node:
    return parsed(rule.rule) if rule.tree is None else rule.tree


def _one(given: Any, root: "Field") -> Rule | Check:
    """One entry of `validate`.

    Raises:
        ValueError: what is wrong with it.

    """
    if isinstance(given, Rule | Check):
        given = given.to_json()
    if isinstance(given, str):
        return _check({"check": given}, root) if given in CHECKS else _rule({"rule": given}, root)
    if not isinstance(given, Mapping) or ("rule" in given) == ("check" in given):
        raise ValueError(
            'it is a text, or a table: { rule = "net + vat == total", tolerance = "0.01" } or '
            '{ check = "iban", field = "seller.account" }'
        )
    kind = "rule" if "rule" in given else "check"
    for key in given:
        if key not in _KEYS[kind]:
            raise ValueError(f"unknown key {key!r}: a {kind} has {', '.join(_KEYS[kind])}")
    if (severity := given.get("severity", "error")) not in get_args(Severity):
        raise ValueError(f"severity {severity!r} is neither error nor warning")
    return _rule(given, root) if kind == "rule" else _check(given, root)


def _rule(given: Mapping[str, Any], root: "Field") -> Rule:
    text, name = given["rule"], given.get("name")
    if not isinstance(text, str):
        raise ValueError(f"a rule is a text, this is {text!r}")  # noqa: TRY004, a mistake like the others
    if name is not None and not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ValueError(
            f"name {name!r}: a name is lower-case letters, digits, - and _, a letter first"
        )
    tolerance = given.get("tolerance")
    if tolerance is not None:
        if isinstance(tolerance, bool) or not isinstance(tolerance, str | int | float):
            raise ValueError(f"tolerance {tolerance!r}: write a number (0.01) or a share (1%)")
        tolerance = str(tolerance)
        Tolerance(tolerance)
    text = " ".join(text.split("\n"))
    try:
        tree = parsed(text, lambda path: naming.known(root, path))
    except NotARule as error:
        raise ValueError(_pointed(text, error)) from None
    return Rule(text.strip(), tolerance, name, given.get("severity", "error"), tree)


def _pointed(text: str, error: NotARule) -> str:
    """A mistake with the text under it, and a caret at its place; one word may be a check that is misspelt."""
    told = str(error)
    if re.fullmatch(r"\s*\w{1,40}\s*", text):
        near = difflib.get_close_matches(text.strip().lower(), CHECKS, 1, 0.5)
        told = f"{text.strip()!r} is neither a check nor a rule" + (
            f": did you mean the check {near[0]!r}?"
            if near
            else f" ({told}); checks are {', '.join(CHECKS)}"
        )
    return pointed(text, NotARule(told, error.place))


def _check(given: Mapping[str, Any], root: "Field") -> Check:
    check, place = given["check"], given.get("field")
    if check not in CHECKS:
        near = difflib.get_close_matches(str(check), CHECKS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CHECKS)}"
        raise ValueError(f"there is no check {check!r}: {hint}")
    if place is None:
        paths = tuple(naming.fields_named(root, check))
        if not paths:
            close = naming.near(root, check, texts=True)
            named = close[0] if close else "seller.account"
            raise ValueError(
                f"the schema has no field named {check}; say which one is meant: "
                f'{{ check = "{check}", field = "{named}" }}'
            )
    else:
        paths = (_field(str(place), root),)
    return Check(
        check, None if place is None else str(place), given.get("severity", "error"), paths
    )


def _field(text: str, root: "Field") -> Path:
    try:
        name = naming.known(root, steps(text))
    except ValueError as error:
        raise ValueError(f"field {text!r}: {error}") from None
    if name.kind == "object":
        raise ValueError(f"field {text!r}: {in_words(name.path)} has fields: name one of them")
    return name.path


def _plain(rule: Rule | Check, kind: Literal["rule", "check"]) -> Any:
    told = {key: getattr(rule, key) for key in _KEYS[kind]}
    told = {key: value for key, value in told.items() if value is not None}
    if told["severity"] == "error":
        del told["severity"]
    return told[kind] if len(told) == 1 else told
