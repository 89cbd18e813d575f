"""The text of a rule -> its tree: tokens, then one function for each rank of operators. Nothing is ever run.

rule       = and-part { "or" and-part }
and-part   = not-part { "and" not-part }
not-part   = "not" not-part | comparison
comparison = sum { ("==" | "!=" | "<" | "<=" | ">" | ">=") sum }
sum        = product { ("+" | "-") product }
product    = sign { ("*" | "/") sign }
sign       = "-" sign | "+" sign | operand
operand    = number | date | text | true | false | null | function "(" rule { "," rule } ")" | name | "(" rule ")"
any and all take a rule: whether it holds in one row, in each row
name       = key { "." key }, a key with odd letters, or a whole JSON Pointer, in backticks
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple, NoReturn, cast

from pipeline.rules import sorts
from pipeline.rules.tree import (
    AGGREGATES,
    PLAIN,
    TRUTHS,
    Call,
    Chain,
    Compare,
    Constant,
    Logic,
    Name,
    Node,
    Order,
    Step,
    array_of,
    in_words,
    is_aggregate,
    names,
    parts_of,
    walked,
)

#: A rule of more letters, or nested deeper, is no rule that anybody wrote.
LONGEST: Final = 2000
_DEEPEST: Final = 40
_MOST_PLACES: Final = 20

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<date>\d{4}-\d\d-\d\d(?!\d))
    | (?P<number>(?:\d+(?:\.\d+)?|\.\d+))
    | (?P<text>"[^"\n]*"|'[^'\n]*')
    | (?P<odd>`[^`\n]+`)
    | (?P<name>[^\W\d]\w*)
    | (?P<sign>==|!=|<=|>=|[<>+\-*/().,])
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
_ORDERS: Final = ("==", "!=", "<", "<=", ">", ">=")
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_WORDS: Final = ("and", "or", "not", *_CONSTANTS)
#: What people write by the habit of another language -> what it is here.
_HABITS: Final = {
    "=": "write == to compare",
    "&": "write and",
    "|": "write or",
    "!": "write not, or != for unequal",
    "%": "a percentage is written as a number: 0.19",
    "^": "write a product: x * x",
    "[": "rows are named without brackets: lines.amount",
    "'": "the text has no end",
    '"': "the text has no end",
    "`": "the name has no end",
}


class NotARule(ValueError):
    """A text that is no rule: why, and the place in it (code points from its beginning)."""

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


#: Leads from the keys of a name (None: every row, in a pointer) to a Name; raises ValueError where there is none.
Known = Callable[[tuple[Step, ...]], Name]


def parsed(text: str, known: Known = Name, told: Mapping[str, Known] | None = None) -> Node:
    """The tree of a rule: something that is true or false.

    Args:
        text: the rule.
        known: finds what a name means.
        told: functions of one name that are not of its value, by what they are called: what each means of a name.

    Raises:
        NotARule: it is none; says why, and where.

    """
    if len(text) > LONGEST:
        raise NotARule(f"a rule has at most {LONGEST:,} letters, this one {len(text):,}", 0)
    parser = _Parser(text, known, told or {})
    node = parser.any_of()
    parser.expect_end()
    node = whole(node)
    is_truth = isinstance(node, Compare | Logic) or (
        isinstance(node, Name) and node.kind in {"boolean", "any"}
    )
    if not is_truth:
        raise NotARule("this is neither true nor false: compare it (net + vat == total)", 0)
    if not any(names(node)):
        raise NotARule("this names no field of the schema", 0)
    parser.one_walk(node, 0)
    parser.no_objects(node)
    return node


def whole(node: Node) -> Node:
    """A rule as what it is for the data as a whole: any and all go through their rows by themselves."""
    is_truth = isinstance(node, Call) and node.function in TRUTHS
    return Logic("and", (node,)) if is_truth else node


def pointed(text: str, error: NotARule) -> str:
    """A mistake with the text under it, and a caret at its place."""
    start = max(0, error.place - 60)
    line = text[start : start + 100]
    return f"{error}\n  {line}\n  {' ' * (error.place - start)}^"


def steps(text: str) -> tuple[Step, ...]:
    """The steps of a name that stands alone: `seller.account`, or a JSON Pointer (`/lines/*/ean`).

    Raises:
        NotARule: it is none.

    """
    if text.startswith("/"):
        return _pointer(text)
    parser = _Parser(text, Name, {})
    node = parser.operand()
    parser.expect_end()
    if not isinstance(node, Name):
        raise NotARule("this is no name of a field: write seller.account", 0)
    return node.path


class _Parser:
    """Reads one rule from left to right."""

    def __init__(self, text: str, known: Known, told: Mapping[str, Known]) -> None:
        self.text, self.known, self.told = text, known, told
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0
        self.places: dict[int, int] = {}

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *texts: str) -> _Token | None:
        """The next token, if it is one of these signs or words."""
        token = self.next
        if token.kind not in {"sign", "name"} or token.text not in texts:
            return None
        self.at += 1
        return token

    def expect_end(self) -> None:
        if self.next.kind != "end":
            self.fail(f"{self.next.text!r} is not expected here")

    def fail(self, message: str, place: int | None = None) -> NoReturn:
        raise NotARule(message, self.next.start if place is None else place)

    def deeper(self, read: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.fail(f"a rule is nested at most {_DEEPEST} deep")
        node = read()
        self.depth -= 1
        return node

    def any_of(self) -> Node:
        """`or`, the loosest."""
        parts = [self.all_of()]
        while self.take("or"):
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else Logic("or", tuple(parts))

    def all_of(self) -> Node:
        parts = [self.negated()]
        while self.take("and"):
            parts.append(self.negated())
        return parts[0] if len(parts) == 1 else Logic("and", tuple(parts))

    def negated(self) -> Node:
        if self.take("not"):
            return Logic("not", (self.deeper(self.negated),))
        return self.comparison()

    def comparison(self) -> Node:
        """Sides that are compared in turn: `a <= b <= c` is `a <= b and b <= c`."""
        start = self.next.start
        side, words = self.sum(), self.since(start)
        found: list[Compare] = []
        while sign := self.take(*_ORDERS):
            start = self.next.start
            other = self.sum()
            told = self.since(start)
            null = Constant(None)
            if null in (side, other) and (sign.text not in {"==", "!="} or side == null):
                self.fail("null stands on the right of == or !=: iban != null", sign.start)
            found.append(Compare(cast(Order, sign.text), (side, other), (words, told)))
            self.refuse_unlike(found[-1], sign.start)
            side, words = other, told
        if not found:
            return side
        return found[0] if len(found) == 1 else Logic("and", tuple(found))

    def refuse_unlike(self, node: Compare | Call, place: int) -> None:
        try:
            if isinstance(node, Compare):
                sorts.refuse_unlike(node)
            else:
                sorts.of(node)
        except ValueError as error:
            self.fail(str(error), place)

    def since(self, start: int) -> str:
        return " ".join(self.text[start : self.tokens[self.at - 1].end].split())

    def sum(self) -> Node:
        return self.chain(self.product, "+", "-")

    def product(self) -> Node:
        return self.chain(self.signed, "*", "/")

    def chain(self, read: Callable[[], Node], *signs: str) -> Node:
        """Operands of one rank."""
        parts, before = [read()], [signs[0]]
        while sign := self.take(*signs):
            before.append(sign.text)
            parts.append(read())
        return parts[0] if len(parts) == 1 else Chain(tuple(before), tuple(parts))

    def signed(self) -> Node:
        if self.take("-"):
            return Chain(("-",), (self.deeper(self.signed),))
        if self.take("+"):
            return self.deeper(self.signed)
        return self.operand()

    def operand(self) -> Node:
        token = self.next
        if self.take("("):
            node = self.deeper(self.any_of)
            self.close()
            return node
        if token.kind in {"number", "date", "text"}:
            self.at += 1
            return Constant(self.constant(token))
        if token.kind not in {"name", "odd"} or token.text in {"and", "or", "not"}:
            self.fail("a field, a number, a date or a text is missing here")
        self.at += 1
        if token.text in _CONSTANTS:
            return Constant(_CONSTANTS[token.text])
        if token.kind == "name" and self.next.text == "(":
            return self.call(token)
        return self.name(token)

    def constant(self, token: _Token) -> Decimal | date | str:
        if token.kind == "number":
            return Decimal(token.text)
        if token.kind == "text":
            return token.text[1:-1]
        try:
            return date.fromisoformat(token.text)
        except ValueError:
            self.fail(f"{token.text} is no day of the calendar", token.start)

    def close(self) -> None:
        if not self.take(")"):
            self.fail("a closing bracket is missing here")

    def call(self, token: _Token) -> Node:
        """A function; `round` takes a whole number of places, as a second argument."""
        function = token.text
        if function in self.told:
            return self.of_name(token)
        if function not in AGGREGATES + PLAIN:
            known = ", ".join((*AGGREGATES, *PLAIN, *self.told))
            self.fail(f"there is no function {function}: there are {known}", token.start)
        self.take("(")
        parts = [self.deeper(self.any_of)]
        while self.take(","):
            parts.append(self.deeper(self.any_of))
        self.close()
        if function in {"abs", *TRUTHS} and len(parts) > 1:
            self.fail(f"{function} takes one value", token.start)
        if function == "round":
            parts = self.rounded(parts, token)
        call = Call(function, tuple(parts))
        if is_aggregate(call):
            self.one_walk(call, token.start)
        if function in TRUTHS:
            self.refuse_unlike(call, token.start)
        return call

    def of_name(self, token: _Token) -> Name:
        """A function that says something about a name: it takes one, and nothing else."""
        self.take("(")
        name = self.next
        if name.kind not in {"name", "odd"} or name.text in _WORDS:
            self.fail(f"{token.text} takes a name")
        self.at += 1
        found = self.name(name, self.told[token.text])
        self.close()
        return found

    def rounded(self, parts: list[Node], token: _Token) -> list[Node]:
        places = parts[1] if len(parts) > 1 else Constant(Decimal(0))
        if (
            len(parts) > 2
            or not isinstance(places, Constant)
            or not isinstance(places.value, Decimal)
            or places.value % 1
            or places.value > _MOST_PLACES
        ):
            self.fail(
                f"round takes a value, and a whole number of decimal places up to {_MOST_PLACES}",
                token.start,
            )
        return [parts[0], places]

    def name(self, token: _Token, known: Known | None = None) -> Name:
        """A path of keys; one in backticks may be a JSON Pointer."""
        path: list[Step] = []
        last = token
        while True:
            inside = last.text[1:-1] if last.kind == "odd" else ""
            if inside.startswith("/"):
                path += _pointer(inside)
            else:
                path.append(inside or last.text)
            if not self.take("."):
                break
            last = self.next
            if last.kind not in {"name", "odd"}:
                self.fail("the name of a field is missing here")
            self.at += 1
        try:
            found = (known or self.known)(tuple(path))
        except ValueError as error:
            self.fail(str(error), token.start)
        self.places[id(found)] = token.start
        return found

    def no_objects(self, node: Node) -> None:
        """An object has no value of its own; it can only be counted."""
        for part in parts_of(node):
            counted = isinstance(node, Call) and node.function == "count"
            if isinstance(part, Name) and part.kind == "object" and not counted:
                told = in_words(part.path)
                place = self.places[id(part)]
                self.fail(f"{told} has fields: name one of them, as in {told}.amount", place)
            self.no_objects(part)

    def one_walk(self, node: Node, place: int) -> None:
        """All rows that are gone through together must be those of one array, or of arrays within it."""
        longest = walked(node)
        for name in names(node, inside=False):
            array = array_of(name.path)
            if array != longest[: len(array)]:
                first, second = in_words(array), in_words(longest)
                self.fail(
                    f"the rows of {first} and of {second} have nothing to do with each other: "
                    f"take them together by {', '.join(AGGREGATES[:-1])} or {AGGREGATES[-1]}",
                    self.places.get(id(name), place),
                )


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            sign = text[at]
            told = _HABITS.get(sign, "it has no meaning in a rule")
            raise NotARule(f"{sign!r}: {told}", at)
        start, end = match.span(match.lastgroup)
        found.append(_Token(match.lastgroup, match[match.lastgroup], start, end))
        at = end
    return found


def _pointer(text: str) -> tuple[Step, ...]:
    """The steps of a JSON Pointer (RFC 6901); `*` is every row."""
    keys = (key.replace("~1", "/").replace("~0", "~") for key in text.split("/")[1:])
    return tuple(None if key == "*" else key for key in keys)
