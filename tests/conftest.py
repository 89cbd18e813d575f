"""What all tests share: a clean environment, and the places of fixtures and of the development corpus."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT.parent / "shared" / "corpus"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no setting and no cache of the person who runs the tests."""
    for name in (
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "NO_COLOR",
        "FORCE_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)
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
