"""The schema room: whatever a user names a schema with becomes a Schema, or a sentence that helps."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel

from pipeline.errors import SchemaError
from pipeline.schema import Node, Schema, shipped_names, slug
from tests.conftest import ROOT

INVOICE = {"type": "object", "properties": {"total": {"type": "number"}}}


def object_of(**properties: Any) -> dict[str, Any]:
    """An object schema that demands all of its properties."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def types(schema: Schema | Node) -> dict[str, str]:
    """Pointer and type of every leaf."""
    node = schema.tree if isinstance(schema, Schema) else schema
    return {found.pointer: found.type for found in node.leaves()}


# --- what a schema can be named with ---


def test_a_file_is_a_schema_named_after_its_stem(tmp_path: Path) -> None:
    """`-s schemas/delivery_note.json` makes the stage `delivery_note`."""
    (tmp_path / "schemas").mkdir()
    path = tmp_path / "schemas" / "Delivery Note.schema.json"
    path.write_text(json.dumps(INVOICE))
    for named in (
        "schemas/Delivery Note.schema.json",
        Path("schemas/Delivery Note.schema.json"),
        path,
    ):
        schema = Schema.of(named, root=tmp_path)
        assert (schema.name, schema.body, schema.source) == ("delivery_note", INVOICE, str(path))


def test_a_file_may_be_in_any_unicode_encoding_of_json(tmp_path: Path) -> None:
    """Editors on some systems write a byte order mark."""
    body = object_of(größe={"type": "number"})
    for codec in ("utf-8-sig", "utf-16", "utf-32"):
        (tmp_path / "s.json").write_bytes(json.dumps(body, ensure_ascii=False).encode(codec))
        assert Schema.of("s.json", root=tmp_path).body == body


def test_a_schema_is_given_back_as_it_is() -> None:
    """What was made once isn't made again."""
    schema = Schema.of("vendor, total float")
    assert Schema.of(schema) is schema


def test_a_mapping_is_a_schema_and_is_copied() -> None:
    """Changing the mapping later changes nothing; a title gives the name."""
    body: dict[str, Any] = object_of(total={"type": "number"}) | {"title": "Till Receipt"}
    schema = Schema.of(MappingProxyType(body))
    body["properties"]["total"]["type"] = "string"
    assert schema.name == "till_receipt"
    assert schema.tree.children[0].type == "number"
    assert Schema.of(INVOICE).name == "extract"


def test_a_pydantic_model_is_a_schema_that_keeps_its_class() -> None:
    """`Result.value` is made with it."""

    class LineItem(BaseModel):
        text: str
        amount: Decimal

    class PurchaseOrder(BaseModel):
        """An order."""

        number: str
        state: Literal["open", "closed"] | None = None
        lines: list[LineItem] = Field(default_factory=list)

    schema = Schema.of(PurchaseOrder)
    assert (schema.name, schema.model_class) == ("purchase_order", PurchaseOrder)
    assert types(schema) == {
        "/number": "string",
        "/state": "string",
        "/lines/*/text": "string",
        "/lines/*/amount": "number",
    }
    assert [child.required for child in schema.tree.children] == [True, False, False]


def test_a_root_model_of_a_list_is_a_schema() -> None:
    """The data may be a list."""
    schema = Schema.of(RootModel[list[int]])
    assert (schema.tree.type, types(schema)) == ("array", {"/*": "integer"})


def test_a_name_that_ships_is_that_schema(tmp_path: Path) -> None:
    """`-s invoice` works from any folder."""
    assert {"contract", "invoice", "receipt"} <= set(shipped_names())
    for name in shipped_names():
        schema = Schema.of(name, root=tmp_path)
        assert schema.name == name
        assert schema.source == f"shipped with fieldsift: {name}"
        assert schema.body == json.loads((ROOT / "schemas" / f"{name}.json").read_bytes())


def test_a_plain_file_name_without_an_ending_is_a_file(tmp_path: Path) -> None:
    """Where no schema of that name ships."""
    (tmp_path / "delivery").write_text(json.dumps(INVOICE))
    assert Schema.of("delivery", root=tmp_path).body == INVOICE


def test_the_short_form_is_a_schema() -> None:
    """Also with slashes in a description, which make no path of it."""
    assert types(Schema.of("vendor, total float, date")) == {
        "/vendor": "string",
        "/total": "number",
        "/date": "string",
    }
    assert types(Schema.of("total float: with VAT/GST")) == {"/total": "number"}
    assert types(Schema.of("unit_price str")) == {"/unit_price": "string"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (7, "can't be made of int"),
        (dict[str, int], "can't be made of"),
        (int, "not a pydantic model"),
        (BaseModel, "not a pydantic model"),
        (RootModel[int], "describes a integer"),
        ({"type": "strin"}, "not a JSON Schema, at type"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "properties/a/pattern"),
        ({"type": "object", "properties": []}, "at properties"),
        ({"type": "object", "x": {1, 2}}, "not a JSON Schema"),
        ({"$schema": 7}, "$schema is the address"),
        ({"$schema": "http://["} | INVOICE, "Invalid IPv6 URL"),
        (
            object_of(a={"id": "http://["})
            | {"$schema": "http://json-schema.org/draft-04/schema#", "id": "http://a.example/"},
            "an $id of the schema is not an address",
        ),
        ({"type": "string"}, "ask for an object"),
        ({}, "says nothing about what to extract"),
        ({"vendor": "Hollis", "total": 48}, "an example of the data"),
        ({"name": "x", "schema": INVOICE}, "the part under 'schema'"),
        (object_of(a={"$ref": "#/$defs/b"}), "'#/$defs/b' points to nothing"),
        (object_of(a={"$ref": "#b"}), "'#b' points to nothing"),
        (object_of(a={"$ref": "other.json#/b"}), "never fetched"),
        (object_of(a={"not": {"$ref": "https://example.org/s"}}), "never fetched"),
        ("no/such.json", "No such file"),
        (
            "vendr",
            "no schema named 'vendr': shipped are api_documentation, bank_statement, contract",
        ),
        ("vendor" * 60, "no schema named"),
        ("unit_price", "one field alone needs its type: 'unit_price str'"),
        ("größe", "one field alone needs its type: 'größe str'"),
        ("product-tagging", "did you mean product_tagging?"),
        ("Invoice", "did you mean invoice?"),
        ("invoyce", "did you mean invoice?"),
        ("no_such", "product_tagging, purchase_order, receipt"),
        ("product_tagging", "run it as a whole (`run -s product_tagging`)"),
        ("models:Invoice", "there is no models.py in"),
        ("json:JSONDecoder", "code is imported from there only"),
        ("", "at least one field"),
        ("a, a", "twice"),
    ],
)
def test_what_is_no_schema_says_why(given: Any, says: str, tmp_path: Path) -> None:
    """Each mistake has a sentence that names it."""
    with pytest.raises(SchemaError, match=re.escape(says)) as caught:
        Schema.of(given, root=tmp_path)
    assert len(str(caught.value)) < 700


def test_a_model_that_json_can_not_hold_says_why() -> None:
    """A field for a function has no JSON Schema, and neither has one of an unknown type."""

    class Hook(BaseModel):
        call: Callable[[], int]

    class Unfinished(BaseModel):
        part: "Missing"  # type: ignore[name-defined]  # noqa: F821 - that it is missing is the point

    for model in (Hook, Unfinished):
        with pytest.raises(SchemaError, match="pydantic makes no JSON Schema of it"):
            Schema.of(model)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\x00\xff", "not JSON"),
        (b"[]", "this is list"),
        (b"true", "this is bool"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "schema"),
        (b'{"properties":{"a":' * 400 + b"{}" + b"}}" * 400, "schema"),
    ],
)
def test_a_file_that_is_no_schema_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    """The path stands in the sentence, whatever is in the file."""
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(SchemaError, match=re.escape(str(tmp_path / "s.json"))) as caught:
        Schema.of("s.json", root=tmp_path)
    assert says in str(caught.value)


def test_a_folder_is_no_schema_file(tmp_path: Path) -> None:
    """The sentence of the system is passed on."""
    (tmp_path / "s.json").mkdir()
    with pytest.raises(SchemaError, match="Is a directory"):
        Schema.of("s.json", root=tmp_path)


# --- module:Model ---


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A folder of the user's with a module that no other test has imported."""
    name = f"models_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "from pydantic import BaseModel\n"
        "class Order(BaseModel):\n"
        "    number: str\n"
        "    lines: list['Line']\n"
        "class Line(BaseModel):\n"
        "    amount: float\n"
        "BY_HAND = {'type': 'object', 'properties': {'a': {'type': 'string'}}}\n"
        "NUMBER = 7\n"
    )
    return tmp_path / f"{name}.py"


def test_a_model_is_imported_from_the_folder(module: Path) -> None:
    """Names that are defined further down are found, and the search path is as before."""
    before = list(sys.path)
    schema = Schema.of(f"{module.stem}:Order", root=module.parent)
    assert (schema.name, types(schema)) == (
        "order",
        {"/number": "string", "/lines/*/amount": "number"},
    )
    assert schema.model_class is not None
    assert schema.model_class.__name__ == "Order"
    assert sys.path == before
    assert Schema.of(f"{module.stem}:Order", root=module.parent).model_class is schema.model_class


def test_a_mapping_of_a_module_is_a_schema_too(module: Path) -> None:
    """A schema that is written in Python needs no model."""
    schema = Schema.of(f"{module.stem}:BY_HAND", root=module.parent)
    assert (schema.name, schema.model_class, types(schema)) == ("by_hand", None, {"/a": "string"})


def test_a_package_in_the_folder_is_imported_by_its_dots(tmp_path: Path) -> None:
    """`shop.models.orders:Order`."""
    package = tmp_path / f"shop_{tmp_path.name.replace('-', '_')}" / "models"
    package.mkdir(parents=True)
    (package / "orders.py").write_text(
        "from pydantic import BaseModel\nclass Order(BaseModel):\n    number: str\n"
    )
    name = f"{package.parent.name}.models.orders:Order"
    assert types(Schema.of(name, root=tmp_path)) == {"/number": "string"}


@pytest.mark.parametrize(
    ("name", "says"),
    [("Ordr", "has no Ordr"), ("NUMBER", "not a pydantic model"), ("Path", "has no Path")],
)
def test_a_name_that_is_no_model_says_so(module: Path, name: str, says: str) -> None:
    """A typo is told from something that is no model."""
    with pytest.raises(SchemaError, match=says):
        Schema.of(f"{module.stem}:{name}", root=module.parent)


@pytest.mark.parametrize("body", ["1 / 0", "import no_such_module", "raise SystemExit(3)", "def"])
def test_a_module_that_can_not_be_imported_says_why(tmp_path: Path, body: str) -> None:
    """Its own mistake stands in the sentence, and doesn't end the process."""
    name = f"bad_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(body)
    with pytest.raises(SchemaError, match=r"importing .* failed: \w+"):
        Schema.of(f"{name}:Model", root=tmp_path)


def test_a_module_of_another_folder_is_never_taken_for_this_one(
    module: Path, tmp_path: Path
) -> None:
    """Python knows one module of a name; the second is refused rather than confused with it."""
    Schema.of(f"{module.stem}:Order", root=module.parent)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(module, other)
    with pytest.raises(SchemaError, match="is taken by"):
        Schema.of(f"{module.stem}:Order", root=other)


@pytest.mark.parametrize("name", ["json", "pipeline", "sys"])
def test_a_module_named_like_one_of_pythons_is_refused(tmp_path: Path, name: str) -> None:
    """What is loaded already under that name is not what the user wrote."""
    (tmp_path / f"{name}.py").write_text("Model = {}")
    with pytest.raises(SchemaError, match=f"the name {name} is taken"):
        Schema.of(f"{name}:Model", root=tmp_path)


# --- what ships ---


def subschemas(body: Any, pointer: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every property of a schema with its pointer."""
    found = []
    for name, sub in body.get("properties", {}).items():
        found += [(f"{pointer}/{name}", sub), *subschemas(sub, f"{pointer}/{name}")]
    return found + (subschemas(body["items"], f"{pointer}/*") if "items" in body else [])


#: Answers of these are written, not read, so that nothing of them can be missing from a document.
WRITTEN = {
    "api_documentation",
    "error_messages",
    "mock_data",
    "request_validation",
    "response_validation",
    "test_cases",
}


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_schemas_describe_every_field_and_allow_that_it_is_not_said(name: str) -> None:
    """Every key is demanded, every value may be null, every list empty; nothing else is allowed."""
    body = json.loads((ROOT / "schemas" / f"{name}.json").read_bytes())
    assert body["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert body["title"]
    assert body["description"]
    assert "$id" not in body
    for pointer, sub in subschemas(body):
        assert re.fullmatch(r"[A-Z].{5,}\.", sub["description"]), pointer
    for node in Schema.of(name).tree.leaves():
        is_entry = node.pointer.endswith("/*")  # of a list of texts, which may be empty
        assert node.nullable or is_entry or name in WRITTEN, node.pointer
    stack = [Schema.of(name).tree]
    while stack:
        node = stack.pop()
        stack += node.children
        if node.type == "object":
            assert node.schema["additionalProperties"] is False
            assert node.schema["required"] == [child.name for child in node.children]


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_schemas_keep_to_keywords_that_services_take(name: str) -> None:
    """No bounds of arrays, which Gemini refuses when they are large; only `pattern` is ignored there."""
    body = json.loads((ROOT / "schemas" / f"{name}.json").read_bytes())
    allowed = {"description", "type", "format", "pattern", "enum", "anyOf", "items"}
    allowed |= {"properties", "required", "additionalProperties"}
    for pointer, sub in subschemas(body):
        assert sub.keys() <= allowed, pointer


def test_names_ship_in_the_wheel_and_lie_in_the_checkout(tmp_path: Path) -> None:
    """The same names work from an installed wheel, where the folders lie inside of the package."""
    site = tmp_path / "site"
    shutil.copytree(
        ROOT / "pipeline", site / "pipeline", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "schemas", site / "pipeline/_shipped/schemas")
    shutil.copytree(ROOT / "fixtures/demo", site / "pipeline/_shipped/demo")
    shutil.copytree(ROOT / "fixtures/recipes", site / "pipeline/_shipped/recipes")
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from pipeline.config.recipes import folder_of\n"
        "from pipeline.schema import Schema, shipped, shipped_names\n"
        "print(*shipped_names(), Schema.of('invoice').sha256, shipped('demo'), shipped('schemas'))\n"
        "print(*folder_of('nda'))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    inside = site / "pipeline/_shipped"
    expected = [*shipped_names(), Schema.of("invoice").sha256, inside / "demo", inside / "schemas"]
    expected += ["pipeline.toml", "pipeline.schema.json", "schemas/nda.json", "inbox/nda.pdf"]
    assert done.stdout.split() == [str(value) for value in expected]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Invoice", "invoice"),
        ("PurchaseOrder", "purchase_order"),
        ("2024-invoice", "invoice"),
        ("Fattura n. 7", "fattura_n_7"),
        ("発注書", "extract"),
        ("--", "extract"),
    ],
)
def test_stage_names_are_made_of_any_text(text: str, name: str) -> None:
    """Lower-case letters, digits, - and _, a letter first."""
    assert slug(text) == name


@settings(deadline=None)
@given(st.text())
def test_stage_names_are_always_names(text: str) -> None:
    """And short enough for a folder."""
    assert re.fullmatch(r"[a-z][a-z0-9_-]*", slug(text))
    assert len(slug(text)) <= 60


def test_the_hash_is_of_what_the_schema_says() -> None:
    """Not of its file, its blanks or the order of its keys."""
    turned = dict(reversed(INVOICE.items()))
    assert Schema.of(INVOICE).sha256 == Schema.of(turned).sha256
    assert Schema.of(INVOICE).sha256 != Schema.of(object_of(total={"type": "string"})).sha256
    assert re.fullmatch(r"[0-9a-f]{64}", Schema.of({"title": "\ud800"} | INVOICE).sha256)


# --- real schemas ---


@pytest.mark.corpus
def test_schemas_of_real_sets_are_read(corpus: Path) -> None:
    """All of them but one that wraps its schema, which is named with the key it lies under."""
    paths = sorted(corpus.glob("*/schema*.json"))
    assert len(paths) > 15
    refused = {}
    for path in paths:
        try:
            assert list(Schema.of(path).tree.leaves())
        except SchemaError as error:
            refused[path.name] = str(error)
    assert all("is it the part under" in sentence for sentence in refused.values())
    assert len(refused) == 1


@pytest.mark.corpus
def test_schemas_of_all_the_world_are_read_or_refused(corpus: Path) -> None:
    """Real ones of many drafts, and those of the official test suite."""
    bodies = [
        json.loads(path.read_bytes())
        for path in sorted(corpus.glob("json-schema/schemastore/*.json"))
    ]
    for path in sorted(corpus.glob("json-schema/test-suite-2020-12/*.json")):
        bodies += [case["schema"] for case in json.loads(path.read_bytes())]
    read = 0
    for body in bodies:
        try:
            list(Schema.of(body).tree.leaves())
            read += 1
        except SchemaError:
            continue
    assert len(bodies) > 400
    assert read > 120
