"""The house keeps its own rules: sizes, first lines, the map in README, public names."""

import ast
import graphlib
import re
import tomllib
from pathlib import Path

import pytest

import pipeline
from pipeline import errors

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_fits_in_a_head(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    too_long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in functions
        if node.end_lineno and node.end_lineno - node.lineno >= 60
    ]
    assert not too_long
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    assert first.endswith((".", ":")), "the first line says what is inside"


def test_the_map_in_readme_is_that_of_the_house() -> None:
    """Every room stands in README's map, and everything on the map is a room."""
    section = (ROOT / "README.md").read_text().partition("## The house")[2]
    block = section.partition("```text\n")[2].partition("```")[0]
    mapped = {
        line.split()[0].rstrip("/")
        for line in block.splitlines()
        if line.strip() and not line.startswith(" ")
    }
    rooms = {
        path.stem if path.is_file() else path.name
        for path in (ROOT / "pipeline").iterdir()
        if path.name not in {"py.typed", "__pycache__", "_shipped"}
    }
    assert {name.removesuffix(".py").removesuffix(".toml") for name in mapped} == {
        room.removesuffix(".toml") for room in rooms
    }


def test_public_names_are_complete_sorted_and_there() -> None:
    assert pipeline.__all__ == sorted(pipeline.__all__)
    for name in pipeline.__all__:
        assert getattr(pipeline, name).__name__ == name
    assert set(pipeline.__all__) <= set(dir(pipeline))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pipeline.nothing


def test_the_version_is_one_and_the_changelog_knows_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pipeline.__version__ == project["version"]
    assert f"## [{pipeline.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """The docstring of errors.py shows every exception under its parent, with its exit code."""
    drawn = re.findall(r"^([ │├└─]*)(\w+) +(\d+)?", errors.__doc__ or "", re.MULTILINE)
    tree = [(len(indent) // 4, name, code) for indent, name, code in drawn if hasattr(errors, name)]
    real = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.FieldsiftError)
    }
    assert {name for _, name, _ in tree} == real
    parents: dict[int, str] = {}
    for depth, name, code in tree:
        kind = getattr(errors, name)
        parents[depth] = name
        if depth > min(level for level, _, _ in tree):
            assert kind.__base__.__name__ == parents[depth - 1], name
        if code:
            assert kind.exit_code == int(code), name


def test_nothing_but_configuration_reads_the_environment() -> None:
    readers = [path for path in MODULES if re.search(r"os\.(environ|getenv)", path.read_text())]
    assert [path.relative_to(ROOT).as_posix() for path in readers] == ["pipeline/config/keys.py"]


def test_nothing_is_evaluated_or_unpickled() -> None:
    for path in MODULES:
        names = {
            node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
        }
        assert not names & {"eval", "exec", "pickle", "marshal", "shelve"}, path


def test_no_module_needs_itself() -> None:
    """Imports have no cycle, those inside functions counted, those for types alone not."""
    names = {
        path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
    }
    modules = set(names.values())
    needs: dict[str, set[str]] = {}
    for path, name in names.items():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                node.body = []
        found = {
            f"{node.module}.{alias.name}"
            if f"{node.module}.{alias.name}" in modules
            else str(node.module)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        needs[name] = {each for each in found if each in modules and each != name}
    list(graphlib.TopologicalSorter(needs).static_order())  # raises CycleError
