"""Snapshots: the same content, one moment, whole or absent, beside writes that go on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zipfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store.connection import Store
from store.errors import SnapshotCancelledError, SnapshotError
from store.runs import RunRepository
from store.schema import list_views
from store.snapshots import SnapshotProgress, write_snapshot
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens


def fill(runs: RunRepository, first: int, last: int) -> None:
    for index in range(first, last):
        runs.insert_run(SOURCE, make_run(index), make_tokens(), make_activations(index))


def content(store: Store) -> dict[str, pa.Table]:
    """All rows of all views, sorted."""
    tables = {}
    with store.read() as cursor:
        for view in list_views(store):
            table = cursor.sql(f'SELECT * FROM "{view.name}" ORDER BY ALL').to_arrow_table()
            tables[view.name] = table
    return tables


def test_a_database_snapshot_opens_as_a_store_with_the_same_content(
    store: Store, runs: RunRepository, tmp_path: Path
) -> None:
    fill(runs, 0, 5)
    runs.insert_hit(make_run(1).run_key, "grace")

    made = write_snapshot(store, tmp_path / "copies" / "copy.duckdb", "duckdb")

    copy = Store.open(made.path)
    try:
        assert content(copy) == content(store)
        fill(RunRepository(copy), 5, 6)
        assert RunRepository(copy).has_run(make_run(5).run_key)
    finally:
        copy.close()
    assert not runs.has_run(make_run(5).run_key)
    assert made.size_bytes > 0


def test_a_parquet_snapshot_holds_one_file_a_view_and_says_what_is_in_it(
    store: Store, runs: RunRepository, tmp_path: Path
) -> None:
    fill(runs, 0, 5)

    made = write_snapshot(store, tmp_path / "copy.zip", "parquet")

    with zipfile.ZipFile(made.path) as archive:
        for view in list_views(store):
            rows = pq.read_table(BytesIO(archive.read(f"{view.name}.parquet")))
            assert rows.num_rows == content(store)[view.name].num_rows
            assert rows.column_names == [column.name for column in view.columns]
        note = archive.read("README.md").decode()
    assert ": Natural logarithm of its probability" in note


def test_a_snapshot_shows_the_moment_of_its_beginning_while_writes_go_on(
    store: Store, runs: RunRepository, tmp_path: Path
) -> None:
    fill(runs, 0, 3)
    written: list[bool] = []

    def write_meanwhile(_progress: SnapshotProgress) -> None:
        if not written:
            written.append(True)
            writer = threading.Thread(target=fill, args=(runs, 3, 6))
            writer.start()
            writer.join()

    made = write_snapshot(store, tmp_path / "copy.duckdb", "duckdb", write_meanwhile)

    copy = Store.open(made.path)
    try:
        assert RunRepository(copy).summarise().n_runs == 3
        assert copy_counts(copy) == (18, 54)
    finally:
        copy.close()
    assert runs.summarise().n_runs == 6


def copy_counts(copy: Store) -> tuple[int, int]:
    summary = RunRepository(copy).summarise()
    return summary.n_tokens, summary.n_activations


def test_progress_ends_at_all_rows(store: Store, runs: RunRepository, tmp_path: Path) -> None:
    fill(runs, 0, 3)
    seen: list[SnapshotProgress] = []

    made = write_snapshot(store, tmp_path / "copy.duckdb", "duckdb", seen.append)

    assert seen[-1].rows_done == seen[-1].rows_total == made.n_rows
    assert [item.rows_done for item in seen] == sorted(item.rows_done for item in seen)


@pytest.mark.parametrize("format", ["duckdb", "parquet"])
def test_a_cancelled_snapshot_leaves_nothing(
    store: Store, runs: RunRepository, tmp_path: Path, format: str
) -> None:
    fill(runs, 0, 2)
    folder = tmp_path / "copies"
    with pytest.raises(SnapshotCancelledError, match="was cancelled"):
        write_snapshot(
            store,
            folder / "copy",
            "duckdb" if format == "duckdb" else "parquet",
            is_cancelled=lambda: True,
        )
    assert list(folder.iterdir()) == []
    assert runs.summarise().n_runs == 2


def test_an_existing_file_is_never_replaced(store: Store, tmp_path: Path) -> None:
    taken = tmp_path / "taken.duckdb"
    taken.write_text("mine")
    with pytest.raises(SnapshotError, match="exists already"):
        write_snapshot(store, taken, "duckdb")
    assert taken.read_text() == "mine"


def test_a_folder_that_is_a_file_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SnapshotError, match="could not be written"):
        write_snapshot(store, tmp_path / "file" / "copy.duckdb", "duckdb")


_FILL_AND_COPY = """
import signal, sys
from pathlib import Path
from resource import RLIMIT_FSIZE, setrlimit
from store.connection import Store
from store.errors import SnapshotError
from store.runs import RunRepository
from store.snapshots import write_snapshot
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

store = Store.open(Path(sys.argv[1]))
runs = RunRepository(store)
for index in range(20):
    run, tokens = make_run(index, n_tokens=200), make_tokens(200, 60)
    runs.insert_run(SOURCE, run, tokens, make_activations(index, 200, 60))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
setrlimit(RLIMIT_FSIZE, (300_000, 300_000))
try:
    write_snapshot(store, Path(sys.argv[2]), sys.argv[3])
except SnapshotError as error:
    print(error.message)
print(runs.summarise().n_runs)
"""


@pytest.mark.parametrize("format", ["duckdb", "parquet"])
def test_a_full_disk_ends_the_snapshot_and_leaves_the_store_as_it_was(
    tmp_path: Path, format: str
) -> None:
    target = tmp_path / "copies" / "copy"
    done = subprocess.run(
        [sys.executable, "-c", _FILL_AND_COPY, str(tmp_path / "s.duckdb"), str(target), format],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "could not be written" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "20"
    assert list(target.parent.iterdir()) == []
