"""What all tests share: a clean environment, the places of fixtures and corpus, and the books of all test servers."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests import books

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT.parent / "shared" / "corpus"


# No test is timed: how long an example takes tells of the machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--wire-fields",
        action="store_true",
        help="list the fields of the requests to the test server, and those of the official messages that no request had",
    )


def pytest_configure(config: pytest.Config) -> None:
    if _is_worker(config):
        return  # the folder is that of the session, which this process was started with
    folder = tempfile.TemporaryDirectory(prefix="books-")
    config.add_cleanup(folder.cleanup)
    os.environ[books.FOLDER] = folder.name


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A request that no test meant to be wrong fails the session, wherever its server ran."""
    if _is_worker(session.config):
        books.hand_over()
        return
    books.collect(Path(os.environ[books.FOLDER]))
    if books.SESSION.violations and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_worker(config: pytest.Config) -> bool:
    """Whether this is one of several processes that share the tests of a session."""
    return hasattr(config, "workerinput")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not books.SESSION.requests:
        return
    if config.getoption("--wire-fields"):
        terminalreporter.section("fields of the requests to the test server")
        for line in books.listing(books.SESSION):
            terminalreporter.write_line(line)
    for violation in books.SESSION.violations:
        terminalreporter.write_line(f"violation: {violation}", red=True)
    terminalreporter.write_line(books.summary(books.SESSION))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no setting and no cache of the person who runs the tests."""
    ours = ("_API_KEY", "_BASE_URL", "NO_COLOR", "FORCE_COLOR")
    for name in list(os.environ):
        if name.endswith(ours) or name.startswith(("FIELDSIFT_", "GOOGLE_CLOUD_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FIELDSIFT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def fixtures() -> Path:
    """The project's own documents."""
    return ROOT / "fixtures"


@pytest.fixture
def corpus() -> Path:
    """The development corpus; tests that need it are skipped where it is missing."""
    if not CORPUS.is_dir():
        pytest.skip("the development corpus is not here: it is not part of the project")
    return CORPUS
