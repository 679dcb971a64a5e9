"""Fixtures that tests of several packages share."""

from __future__ import annotations

import pytest

from tests.soft_hsm import make_soft_hsm


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of a software hardware module, with `{}` where the key's label goes."""
    return make_soft_hsm(tmp_path_factory.mktemp("hsm"))
