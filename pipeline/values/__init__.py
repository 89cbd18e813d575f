"""Text to typed value and back, by locale: dates, times, durations, numbers, money, identifiers, and folded text.

Two kinds of function. `find_*` give every span of a kind with its place, its likeliest value and all
its readings; `*_readings` give every value that a printed text may mean. A reading never changes,
drops or adds a digit: what a careful reader would not accept is not in it. Everything here is pure,
has no dependency, and takes time linear in the text, which is hostile.
"""

from pipeline.values.dates import date_readings, find_dates, find_times, time_readings
from pipeline.values.durations import duration_length, find_durations
from pipeline.values.found import Found, json_number, plain
from pipeline.values.ids import (
    find_dois,
    find_emails,
    find_ibans,
    find_phones,
    find_urls,
    find_vat_ids,
    iban_holds,
)
from pipeline.values.instants import find_instants, find_zoned_times
from pipeline.values.money import currency_readings, find_currencies
from pipeline.values.numbers import find_numbers, find_percentages, number_readings
from pipeline.values.texts import Folded, cuts_number, fold

__all__ = [
    "Folded",
    "Found",
    "currency_readings",
    "cuts_number",
    "date_readings",
    "duration_length",
    "find_currencies",
    "find_dates",
    "find_dois",
    "find_durations",
    "find_emails",
    "find_ibans",
    "find_instants",
    "find_numbers",
    "find_percentages",
    "find_phones",
    "find_times",
    "find_urls",
    "find_vat_ids",
    "find_zoned_times",
    "fold",
    "iban_holds",
    "json_number",
    "number_readings",
    "plain",
    "time_readings",
]
