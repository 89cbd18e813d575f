"""What pydantic finds wrong with a pipeline file, in the words of the product, each with the way out."""

from typing import TYPE_CHECKING, Any, Final

from pipeline.config.tables import FORMS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

#: What a kind of error means; `{}` stands for what the error itself knows.
_WORDS: Final = {
    "string_type": 'it is a text: write it in quotes, as in "text"',
    "string_too_short": "it is empty: say what is meant, or leave it out",
    "int_type": "it is a whole number",
    "int_parsing": "it is a whole number",
    "int_from_float": "it is a whole number",
    "float_type": "it is a number",
    "float_parsing": "it is a number",
    "finite_number": "it is a number, and not infinite",
    "bool_type": "it is true or false, without quotes",
    "missing": "it is missing",
    "literal_error": "it is {expected}",
    "greater_than_equal": "it is at least {ge}",
    "greater_than": "it is above {gt}",
    "less_than_equal": "it is at most {le}",
    "less_than": "it is below {lt}",
}
#: What a list or a table looks like, by its key; `{}` stands for a text that was given in place of it.
_LISTS: Final = {"validate": "net + vat == total", "to": "gemini:MODEL", "on": "invalid"}
_TABLES: Final = {
    "escalate": 'escalate = {{ to = ["{}"] }}',
    "price": "price = {{ input = 0.10, output = 0.40 }}",
}
_A_LIST: Final = "list_type"
_A_TABLE: Final = frozenset({"model_type", "model_attributes_type", "dict_type"})
#: Steps in the places of errors that are alternatives of a type, and no keys.
ALTERNATIVES: Final = frozenset({"str", "float", "int", "list[str]"})


def told(error: "ErrorDetails") -> str:
    """One error of pydantic, as a sentence about the key that it is about."""
    kind, context = error["type"], error.get("ctx", {})
    keys = [part for part in error["loc"] if isinstance(part, str)]
    if keys and keys[-1] in ALTERNATIVES:
        return f"it is a text or a {'list of texts' if keys[-2:-1] == ['input'] else 'number'}"
    key = keys[-1] if keys else ""
    given = _text(error["input"])
    if kind == _A_LIST:
        return f'it is a list: write {key} = ["{given or _LISTS.get(key, "...")}"]'
    if kind in _A_TABLE:
        form = _TABLES.get(key)
        return (
            f"it is a table: write {form.format(given or 'gemini:MODEL')}"
            if form
            else "it is a table"
        )
    if kind == "too_short":
        return f'it names nothing: write {key} = ["{_LISTS.get(key, "...")}"], or leave it out'
    if pattern := FORMS.get(context.get("pattern", "")):
        return pattern
    words = _WORDS.get(kind)
    return words.format(**context) if words else error["msg"].removeprefix("Value error, ")


def _text(given: Any) -> str:
    """A text that can be shown as it was given; empty where it is none."""
    return given if isinstance(given, str) and given.isprintable() and '"' not in given else ""
