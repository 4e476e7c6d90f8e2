"""A file of the first layout: moved into the new one whole, and kept beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.activations import ActivationRepository
from store.connection import Store
from store.errors import StoreError, StoreUnusableError
from store.features import FeatureRepository
from store.migrations import versions
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

ROOT = Path(__file__).parents[2]
N_RUNS = 7
N_TOKENS = 100

_SOURCE = """
    INSERT INTO base.sources VALUES
    (?, ?, ?, 'm', 'r', 's', 'r', 'blocks.1.hook_resid_post', 1, 16, 1000, 'topk', ?, NULL,
     '2030-01-01'::TIMESTAMP)
"""
_RUN = """
    INSERT INTO base.runs VALUES
    (?, ?, ?, 'text', 'asked', 'said', '[{"role": "user", "content": "asked"}]', 100, 50, 50, 1, 0,
     1, 0, 0, false, '[]', 'stop', 1, 'ada', '2030-01-01'::TIMESTAMP)
"""
_ACTIVATIONS = """
    SELECT run_key, position, feature, value FROM activations ORDER BY ALL
"""


def _make_old(path: Path) -> list[Any]:
    """A store as version 1 wrote it: runs of two sources in turns, one without activations."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(versions()[0][1].read_text(encoding="utf-8"))
        connection.execute("INSERT INTO base.migrations (version, name) VALUES (1, '001_first')")
        connection.execute(_SOURCE, [1, "exact-1", "exact", "float32"])
        connection.execute(_SOURCE, [2, "rounded-1", "rounded", "bfloat16"])
        for index in range(1, N_RUNS + 1):
            connection.execute(_RUN, [index, f"key{index}", 1 + index % 2])
            connection.execute(
                "INSERT INTO base.tokens SELECT ?, x, x, ' w' || x, 'user', false, false, -0.5, 1,"
                " NULL, 10 FROM range(?) AS t(x)",
                [index, N_TOKENS],
            )
            connection.execute(
                "INSERT INTO base.activations SELECT ?, x // 10, x % 10 * 97 + x // 10,"
                " (hash(x * ?) % 1000 + 1) / 100.0 FROM range(?) AS t(x)",
                [index, index, 0 if index == 3 else 1000],
            )
        connection.execute("INSERT INTO base.hits VALUES (1, 'bob', '2030-01-02'::TIMESTAMP)")
        connection.execute(
            "INSERT INTO base.labels VALUES (1, 97, 'birds', 'human', NULL, 'ada',"
            " '2030-01-02'::TIMESTAMP, true)"
        )
        return connection.execute(
            "SELECT run_key, position, feature, value, dtype FROM base.activations"
            " JOIN base.runs USING (run_no) JOIN base.sources USING (source_no) ORDER BY ALL"
        ).fetchall()


def test_an_old_store_is_moved_whole_and_kept_beside(tmp_path: Path) -> None:
    path = tmp_path / "featurebook.duckdb"
    old = _make_old(path)
    before = path.read_bytes()
    store = Store.open(path)
    try:
        with store.read() as cursor:
            new = cursor.execute(_ACTIVATIONS).fetchall()
            block_bytes = cursor.execute("SELECT block_size FROM pragma_database_size()").fetchall()
            labels = cursor.execute("SELECT label FROM features WHERE feature = 97").fetchall()
        assert [row[:3] for row in new] == [row[:3] for row in old]
        for row, kept in zip(old, new, strict=True):
            exact = row[4] == "float32"
            assert kept[3] == row[3] if exact else kept[3] == pytest.approx(row[3], rel=2**-8)
        assert block_bytes == [(65_536,)]
        assert sorted(labels, key=str) == [("birds",), (None,)]
        run = RunRepository(store).get_run("key1")
        assert (run.run.hits, len(run.tokens), run.tokens[5].text) == (1, N_TOKENS, " w5")
        assert len(ActivationRepository(store).get_run_activations("key3")) == 0
        [context] = FeatureRepository(store).list_top_contexts("exact", 97, 1)
        assert context.value == max(row[3] for row in old if row[2] == 97 and row[4] == "float32")
        assert context.text == f" w{context.position}"
        last = make_run(5), make_tokens(), make_activations()
        assert RunRepository(store).insert_run(SOURCE, *last)
    finally:
        store.close()
    assert path.with_name("featurebook.duckdb.before-2").read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "featurebook.duckdb",
        "featurebook.duckdb.before-2",
    ]


def test_an_old_store_with_a_write_ahead_log_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    program = (
        "import os, sys, duckdb\n"
        "connection = duckdb.connect(sys.argv[1])\n"
        "connection.execute(\"INSERT INTO base.hits VALUES (2, 'eve', '2030-01-03'::TIMESTAMP)\")\n"
        "os._exit(0)\n"
    )
    _make_old(path)
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert path.with_name("store.duckdb.wal").exists()
    store = Store.open(path)
    try:
        assert RunRepository(store).get_run("key2").run.hits == 1
    finally:
        store.close()


def test_a_second_move_does_not_touch_the_first_copy(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    copy = tmp_path / "store.duckdb.before-2"
    copy.write_bytes(b"another")
    _make_old(path)
    Store.open(path).close()
    assert copy.read_bytes() == b"another"
    assert (tmp_path / "store.duckdb.before-2.2").exists()


def test_a_store_that_is_being_moved_is_locked_and_one_killed_meanwhile_is_as_it_was(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.duckdb"
    old = _make_old(path)
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "import store.rebuild\n"
        "def wait(connection):\n"
        "    print('copying', flush=True)\n"
        "    time.sleep(60)\n"
        "store.rebuild._copy = wait\n"
        "from store.connection import Store\n"
        "Store.open(Path(sys.argv[1]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "copying\n"
    with pytest.raises(StoreError):
        Store.open(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.1)
    store = Store.open(path)
    try:
        with store.read() as cursor:
            assert len(cursor.execute(_ACTIVATIONS).fetchall()) == len(old)
    finally:
        store.close()


def test_an_old_store_that_cannot_be_copied_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.duckdb"
    _make_old(path)
    before = path.read_bytes()

    def full(_connection: object) -> None:
        raise duckdb.IOException("IO Error: No space left on device")

    monkeypatch.setattr("store.rebuild._copy", full)
    with pytest.raises(StoreUnusableError, match="full"):
        Store.open(path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["store.duckdb"]
