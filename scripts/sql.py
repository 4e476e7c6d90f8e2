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
from urllib.request import ProxyHandler, Request, build_opener

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from store.connection import Store
from store.errors import StoreError, StoreLockedError
from store.formats import Format, to_bytes
from store.sandbox import run_query
from store.settings import StoreSettings

_ANSWER_MARGIN_S = 20.0
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_WIDTH_OF_A_FILE = 10_000


class ServerAddress(BaseSettings):
    """Where a running server answers, read as the server itself reads it."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    host: str = Field(default="127.0.0.1", description="Address of the server.")
    port: int = Field(default=8501, description="Port of the server.")
    featurebook_api_token: SecretStr | None = Field(default=None, description="Its token.")

    @property
    def url(self) -> str:
        """Of the server, seen from this machine."""
        host = _EVERY_ADDRESS.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


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
    request = Request(f"{server.url}/api/sql?{query}")
    if server.featurebook_api_token is not None:
        token = server.featurebook_api_token.get_secret_value()
        request.add_header("Authorization", f"Bearer {token}")
    # A proxy of this machine must not see what is asked of a server on it.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s + _ANSWER_MARGIN_S) as response:
            return response.read(), response.headers.get("x-truncated") == "true"
    except HTTPError as error:
        raise _refusal(error.read(), server.url) from error
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{locked.message.removesuffix('.')}, and no server answers at {server.url}.",
            "Set HOST and PORT to the server's, or stop the process that holds the store.",
        ) from error


def _refusal(body: bytes, url: str) -> StoreError:
    """What the server said of the request."""
    try:
        error = json.loads(body)["error"]
        return StoreError(str(error["message"]), str(error["hint"]))
    except (ValueError, KeyError, TypeError):
        return StoreError(f"What answers at {url} is not Featurebook.", "Set HOST and PORT.")


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
