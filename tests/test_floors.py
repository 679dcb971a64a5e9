"""The layout is the architecture: imports run down only."""

import ast
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "media": 1,
    "generator": 2,
    "watermark": 2,
    "detector": 2,
    "provenance": 3,
    "policy": 4,
    "vasari": 5,
}


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names & set(FLOORS)


@pytest.mark.parametrize("package", FLOORS)
def test_no_import_climbs_or_crosses_a_floor(package: str) -> None:
    climbing = {
        f"{path.relative_to(ROOT)} imports {other}"
        for path in (ROOT / package).rglob("*.py")
        for other in imported_packages(path) - {package}
        if FLOORS[other] >= FLOORS[package]
    }
    assert not climbing


def test_only_the_performer_of_a_release_touches_the_generator() -> None:
    users = {
        str(path.relative_to(ROOT))
        for package in ("media", "watermark", "detector", "provenance", "policy", "vasari")
        for path in (ROOT / package).rglob("*.py")
        if "generator" in imported_packages(path)
    }
    assert users <= {"policy/performer.py"}


def test_nothing_outside_policy_can_open_sealed_weights() -> None:
    """A second opener would be a second way to frames; the package does not even offer one."""
    import policy

    assert not {"open_sealed", "WorkerKey", "KeyBroker", "OpenedWeights"} & set(policy.__all__)
    assert not {"inspect", "make_talker"} & set(inspect.signature(policy.ReleasePipeline).parameters)
    openers = {
        str(path.relative_to(ROOT))
        for package in FLOORS
        for path in (ROOT / package).rglob("*.py")
        if "open_sealed(" in path.read_text(encoding="utf-8")
    }
    assert openers == {"policy/seal.py", "policy/state_folder.py", "policy/performer.py"}
