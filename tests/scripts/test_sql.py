"""scripts/sql.py: directly on the file, and through the server that holds it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest

from scripts.sql import main
from store.connection import Store
from store.errors import QueryError
from store.formats import to_bytes
from store.sandbox import run_query
from tests.source_files import ROOT

TOKEN = "a token"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command looks for the store; nothing is there yet."""
    path = tmp_path / "store.duckdb"
    monkeypatch.setenv("FEATUREBOOK_STORE", str(path))
    monkeypatch.setenv("PORT", "1")
    return path


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """Held open, as a server holds it."""
    opened = Store.open(path)
    yield opened
    opened.close()


@pytest.fixture
def server(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answers /api/sql from the store as the dashboard does, to those who have the token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: value[0] for name, value in parse_qs(urlsplit(self.path).query).items()}
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.answer(401, _error("No token.", "Set FEATUREBOOK_API_TOKEN."), False)
                return
            try:
                result = run_query(store, query["q"], max_rows=int(query["limit"]))
            except QueryError as error:
                self.answer(400, _error(error.message, error.hint), False)
                return
            content = to_bytes(result, "csv" if query["format"] == "csv" else "json")
            self.answer(200, content, result.truncated)

        def answer(self, status: int, content: bytes, truncated: bool) -> None:
            self.send_response(status)
            self.send_header("x-truncated", str(truncated).lower())
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        monkeypatch.setenv("HOST", "0.0.0.0")
        monkeypatch.setenv("PORT", str(served.server_port))
        monkeypatch.setenv("FEATUREBOOK_API_TOKEN", TOKEN)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield
        served.shutdown()
        thread.join()


def _error(message: str, hint: str) -> bytes:
    return json.dumps({"error": {"type": "QueryError", "message": message, "hint": hint}}).encode()


def test_rows_are_printed_as_a_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(path).close()
    assert main(["SELECT 1 AS one, NULL AS nothing, '[b]' AS markup"]) == 0
    header, row, count = capsys.readouterr().out.splitlines()
    assert header.split() == ["one", "nothing", "markup"]
    assert row.split() == ["1", "NULL", "[b]"]
    assert count.startswith("(1 row, ")


def test_text_cannot_drive_the_terminal(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(path).close()
    assert main(["SELECT chr(27) || '[2J' || chr(10) || 'x' AS t"]) == 0
    out = capsys.readouterr().out
    assert r"\x1b[2J\nx" in out
    assert "\x1b" not in out


def test_csv_and_json_go_to_standard_output_and_what_is_cut_is_told(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Store.open(path).close()
    assert main(["FROM range(5) t(i)", "--format", "csv", "--limit", "2"]) == 0
    shown = capfd.readouterr()
    assert shown.out == "i\n0\n1\n"
    assert "more rows" in shown.err
    assert main(["FROM range(2) t(i)", "--format", "json"]) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out)["rows"] == [[0], [1]]
    assert shown.err == ""


def test_parquet_is_written_in_a_process_of_its_own_without_torch(path: Path) -> None:
    Store.open(path).close()
    program = (
        "import sys; from scripts.sql import main; status = main();"
        "assert not {'torch', 'streamlit', 'transformers'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "FROM range(3) t(i)", "--format", "parquet"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert pq.read_table(io.BytesIO(done.stdout)).to_pydict() == {"i": [0, 1, 2]}


def test_parquet_is_refused_on_a_terminal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(SystemExit) as ended:
        main(["SELECT 1", "--format", "parquet"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [[], ["SELECT 1", "--limit", "0"], ["SELECT 1", "--timeout-s", "nan"], ["-x"], ["a", "b"]],
)
def test_a_wrong_call_exits_with_2(path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "sql", ["SELEC 1", "DROP TABLE base.runs", "SELECT * FROM nowhere", "SELECT error('a\nb')", ""]
)
def test_a_query_that_fails_is_one_line_and_1(
    path: Path, capsys: pytest.CaptureFixture[str], sql: str
) -> None:
    Store.open(path).close()
    assert main([sql]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    [line] = shown.err.splitlines()
    assert line.startswith("error: ")
    assert str(path.parent) not in line


def test_a_store_that_is_not_there_is_said_and_not_made(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["SELECT 1"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: There is no store at")
    assert not path.exists()


@pytest.mark.usefixtures("server")
def test_a_running_server_is_asked_and_that_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["FROM range(5) t(i)", "--format", "csv", "--limit", "2"]) == 0
    shown = capfd.readouterr()
    assert shown.out == "i\n0\n1\n"
    asked, cut = shown.err.splitlines()
    assert "Asking http://127.0.0.1:" in asked
    assert "more rows" in cut
    assert main(["SELECT 'é' AS t"]) == 0
    assert capfd.readouterr().out.splitlines()[1].strip() == "é"


@pytest.mark.usefixtures("server")
def test_what_the_server_refuses_is_told_in_its_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["DROP TABLE base.runs"]) == 1
    assert "only reads" in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.delenv("FEATUREBOOK_API_TOKEN")
    assert main(["SELECT 1"]) == 1
    assert "error: No token. (Set FEATUREBOOK_API_TOKEN.)" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_a_held_store_without_a_server_says_who_holds_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["SELECT 1"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: The store ")
    assert "no server answers at http://127.0.0.1:1." in last
