"""Values that tell themselves apart without a label: an IBAN, a currency, a DOI, the only date."""

import re
from collections import Counter
from collections.abc import Iterator

from pipeline.providers.local.asks import Ask, Plan
from pipeline.providers.local.claims import Claim, claims_of
from pipeline.providers.local.spans import Span, Spans

#: Worth of a kind's first span when it is the only value of that kind, and when there are others.
_ALONE = {
    "iban": 0.85,
    "email": 0.75,
    "url": 0.7,
    "doi": 0.85,
    "vat": 0.75,
    "phone": 0.6,
    "currency": 0.86,
    "time": 0.55,
    "datetime": 0.6,
}
_AMONG = {
    "iban": 0.6,
    "email": 0.5,
    "url": 0.45,
    "doi": 0.75,
    "vat": 0.55,
    "phone": 0.42,
    "currency": 0.7,
    "time": 0.3,
    "datetime": 0.4,
}
#: The date of a document that has none with a label: the first one; the only one.
_FIRST_DATE, _ONLY_DATE = 0.5, 0.85
#: The time that stands beside a date.
_BESIDE_DATE = 0.75
#: A pattern with letters of its own (`^INV-\d{6}$`) tells, and what it finds is worth this.
_LITERAL = re.compile(r"^\^(?:\(\?:)?(?:[A-Za-z]{2}|[A-Za-z]-|.*[^\\\[\-A-Za-z][A-Z]{2,}-)")
_CODE = 0.75


def claims(spans: Spans, plan: Plan) -> Iterator[Claim]:
    """Claims for the asks whose kind says enough, and that belong to no party."""
    for ask in plan.scalars:
        alone = ask.kind in _ALONE and not (ask.role and ask.kind != "currency")
        if alone or _LITERAL.search(ask.kind):
            yield from _of_kind(ask, spans.of(ask.kind))
        elif ask.kind == "date" and ask.meaning == "issue_date":
            found = spans.of("date")
            worth = _ONLY_DATE if len({span.value for span in found}) == 1 else _FIRST_DATE
            for number, span in enumerate(found[:5]):
                yield from claims_of(ask, span, (worth - 0.02 * number) * span.sure_for(ask))
        if ask.kind == "time":
            dated = {span.segment.row for span in spans.of("date")}
            for number, span in enumerate(s for s in spans.of("time") if s.segment.row in dated):
                yield from claims_of(ask, span, max(0.0, _BESIDE_DATE - 0.02 * number))


def _of_kind(ask: Ask, found: list[Span]) -> Iterator[Claim]:
    """The most frequent value, at its first place."""
    times = Counter(str(span.value) for span in found)
    if not times:
        return
    worth = (_ALONE if len(times) == 1 else _AMONG).get(ask.kind, _CODE)
    most = times.most_common(1)[0][1]
    seen: set[str] = set()
    for span in found:
        value = str(span.value)
        if value not in seen:
            seen.add(value)
            yield from claims_of(ask, span, worth * (0.85 + 0.15 * times[value] / most))
        if len(seen) > 10:
            return
