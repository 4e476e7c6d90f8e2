"""Runs one read-only query over the store and prints its rows.

The store is opened directly. Where a running server holds it, the server is asked instead.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, get_args
from urllib.error import HTTPError
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scripts._server_address import ServerAddress, said_by
from store.connection import Store
from store.errors import StoreError, StoreLockedError
from store.formats import Format, to_bytes
from store.sandbox import run_query
from store.settings import StoreSettings

_ANSWER_MARGIN_S = 20.0
_WIDTH_OF_A_FILE = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.limit < 1 or not 0 < options.timeout_s < float("inf"):
        parser.error("--limit and --timeout-s must be above 0")
    if options.format == "parquet" and sys.stdout.isatty():
        parser.error("Parquet is not for a terminal: add > rows.parquet")
    sql = sys.stdin.read() if options.sql == "-" else options.sql
    # A table is drawn from the JSON, so that a server and the file itself print the same.
    wanted: Format = "json" if options.format == "table" else options.format
    try:
        content, is_truncated = _answer(sql, wanted, options.limit, options.timeout_s)
    except StoreError as error:
        return _fail(error.message, error.hint)
    except KeyboardInterrupt:
        return _fail("Stopped.", "")
    try:
        if options.format == "table":
            _print_table(json.loads(content))
        else:
            sys.stdout.buffer.write(content + (b"\n" if options.format == "json" else b""))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; Python must not complain while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if is_truncated:
        print("note: there are more rows than these (see --limit)", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sql", metavar="SQL", help="one SELECT statement, or - to read it")
    parser.add_argument(
        "--format", choices=["table", *(f for f in get_args(Format) if f != "arrow")],
        default="table", help="parquet goes to standard output too (default: table)",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=1_000, metavar="N", help="most rows (1000)")
    parser.add_argument(
        "--timeout-s", type=float, default=10.0, metavar="S",
        help="stop the query after this long; a server has a limit of its own (10)",
    )  # fmt: skip
    return parser


def _answer(sql: str, format: Format, limit: int, timeout_s: float) -> tuple[bytes, bool]:
    """The rows in the format, and whether there are more.

    Raises:
        StoreError: if there is no store, or it cannot be read, or the query was refused or failed.
    """
    path = StoreSettings().featurebook_store.expanduser()
    if not path.exists():
        raise StoreError(
            f"There is no store at {path} yet.",
            "Ask a question first, or set FEATUREBOOK_STORE to another file.",
        )
    try:
        store = Store.open(path)
    except StoreLockedError as error:
        return _answer_of_server(error, sql, format, limit, timeout_s)
    try:
        result = run_query(store, sql, max_rows=limit, timeout_s=timeout_s)
        return to_bytes(result, format), result.truncated
    finally:
        store.close()


def _answer_of_server(
    locked: StoreLockedError, sql: str, format: Format, limit: int, timeout_s: float
) -> tuple[bytes, bool]:
    server = ServerAddress()
    print(f"note: {locked.message} Asking {server.url}.", file=sys.stderr)
    query = urlencode({"q": sql, "format": format, "limit": limit}, errors="replace")
    try:
        with server.open("GET", f"/api/sql?{query}", timeout_s + _ANSWER_MARGIN_S) as response:
            return response.read(), response.headers.get("x-truncated") == "true"
    except HTTPError as error:
        raise said_by(server, error) from error
    except (OSError, ValueError) as error:
        raise server.is_silent(locked) from error


def _print_table(content: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in content["columns"]:
        table.add_column(Text(_shown(column["name"])), overflow="fold")
    for row in content["rows"]:
        table.add_row(*_cells(row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_FILE
    console.print(table)
    n_rows = len(content["rows"])
    print(f"({n_rows:,} row{'' if n_rows == 1 else 's'}, {content['elapsed_ms']:,.0f} ms)")


def _cells(row: Sequence[object]) -> list[Text]:
    return [Text("NULL", style="dim") if value is None else Text(_shown(value)) for value in row]


def _shown(value: object) -> str:
    """On one line, and without control characters: text of a model must not drive a terminal."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _fail(message: str, hint: str) -> int:
    line = " ".join(f"{message}{f' ({hint})' if hint else ''}".split())
    print(f"error: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
