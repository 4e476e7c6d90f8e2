"""scripts/export.py: directly on the file, and from a server that holds it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scripts.export import main
from store.connection import Store
from store.runs import RunRepository
from tests.dashboard.server_process import start_server
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of three runs, where the command looks for it."""
    path = tmp_path / "data" / "store.duckdb"
    store = Store.open(path)
    for index in range(3):
        RunRepository(store).insert_run(
            SOURCE, make_run(index), make_tokens(), make_activations(index)
        )
    store.close()
    monkeypatch.setenv("FEATUREBOOK_STORE", str(path))
    monkeypatch.setenv("PORT", "1")
    return path


def n_runs(path: Path) -> int:
    store = Store.open(path)
    try:
        return RunRepository(store).summarise().n_runs
    finally:
        store.close()


def test_a_database_is_written_that_opens_as_a_store(path: Path, tmp_path: Path) -> None:
    assert main([str(tmp_path / "copy.duckdb")]) == 0
    assert n_runs(tmp_path / "copy.duckdb") == 3


def test_a_folder_of_parquet_files_is_written(path: Path, tmp_path: Path) -> None:
    assert main([str(tmp_path / "copy")]) == 0
    assert pq.read_table(tmp_path / "copy" / "runs.parquet").num_rows == 3
    assert "tokens.parquet" in (tmp_path / "copy" / "README.md").read_text(encoding="utf-8")
    assert {item.name for item in tmp_path.iterdir()} == {"copy", "data"}


def test_what_exists_is_never_replaced(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "copy").mkdir()
    assert main([str(tmp_path / "copy")]) == 1
    assert "exists already" in capsys.readouterr().err


def test_without_a_store_one_line_says_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FEATUREBOOK_STORE", str(tmp_path / "none.duckdb"))
    assert main([str(tmp_path / "copy.duckdb")]) == 1
    assert capsys.readouterr().err.startswith("error: There is no store at ")


def test_where_no_server_answers_the_holder_is_named(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(path)
    try:
        assert main([str(tmp_path / "copy.duckdb")]) == 1
    finally:
        store.close()
    assert "no server answers at http://127.0.0.1:1" in capsys.readouterr().err
    assert not (tmp_path / "copy.duckdb").exists()


@pytest.mark.slow
def test_a_server_that_holds_the_store_writes_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(path, tmp_path / "log", FEATUREBOOK_API_TOKEN="a token")
    try:
        monkeypatch.setenv("PORT", server.url.rsplit(":", 1)[1])
        monkeypatch.setenv("FEATUREBOOK_API_TOKEN", "a token")
        assert main([str(tmp_path / "copy.duckdb")]) == 0
        assert main([str(tmp_path / "copy")]) == 0
    finally:
        server.stop()
    assert n_runs(tmp_path / "copy.duckdb") == 3
    assert pq.read_table(tmp_path / "copy" / "activations.parquet").num_rows == 54
