"""The README's lines that read rows in a program, run against a real server."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.connection import Store
from store.runs import RunRepository
from tests.dashboard.server_process import Server, start_server
from tests.source_files import ROOT
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

pytestmark = pytest.mark.slow

BLOCKS = re.findall(
    r"```python\n(import (\w+).*?)```", (ROOT / "README.md").read_text("utf-8"), re.S
)
N_TOKENS = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over one run."""
    folder: Path = tmp_path_factory.mktemp("reading")
    store = Store.open(folder / "store.duckdb")
    RunRepository(store).insert_run(SOURCE, make_run(), make_tokens(N_TOKENS), make_activations())
    store.close()
    started = start_server(folder / "store.duckdb", folder / "server.log")
    yield started
    started.stop()


def test_the_readme_reads_into_three_libraries_in_two_lines_each() -> None:
    assert [name for _, name in BLOCKS] == ["pandas", "polars", "duckdb"]
    assert [len(code.splitlines()) for code, _ in BLOCKS] == [2, 2, 2]


@pytest.mark.parametrize(
    ("code", "name"), [pytest.param(code, name, id=name) for code, name in BLOCKS]
)
def test_the_lines_of_the_readme_read_every_row(server: Server, code: str, name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    names: dict[str, object] = {}
    exec(code.replace("http://127.0.0.1:8501", server.url), names)
    assert getattr(names["rows"], "shape")[0] == N_TOKENS  # noqa: B009
