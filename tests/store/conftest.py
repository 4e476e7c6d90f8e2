"""A store of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.connection import Store
from store.runs import RunRepository


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, closed afterwards."""
    opened = Store.open(tmp_path / "store.duckdb")
    yield opened
    opened.close()


@pytest.fixture
def runs(store: Store) -> RunRepository:
    """Its runs."""
    return RunRepository(store)
