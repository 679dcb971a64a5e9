"""An installed wheel has every file that the packages read at run time, not only an editable checkout."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
PACKAGES = [pattern.rstrip("*") for pattern in SETUPTOOLS["packages"]["find"]["include"]]


def is_packed(file: Path, package: str) -> bool:
    data = SETUPTOOLS["package-data"]
    own_path = file.relative_to(ROOT / package).as_posix()
    return any(fnmatch(file.name, pattern) for pattern in data["*"]) or own_path in data.get(package, ())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_of_a_package_is_packed(package: str) -> None:
    files = [path for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert files, "every package has at least its py.typed"
    assert [str(file.relative_to(ROOT)) for file in files if not is_packed(file, package)] == []
