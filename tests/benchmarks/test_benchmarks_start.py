"""Every benchmark can at least be started: none imports what is gone."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "__init__"))
def test_the_module_imports(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
