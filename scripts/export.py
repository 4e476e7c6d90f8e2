"""Writes a consistent copy of the whole store, also while a server reads and writes it.

DEST decides the form: `name.duckdb` is a database that another Featurebook opens, `name.zip` an
archive of Parquet files (one a view, with a README), any other name a folder of these files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scripts._server_address import ServerAddress, said_by
from store.connection import Store
from store.errors import SnapshotError, StoreError, StoreLockedError
from store.settings import StoreSettings
from store.snapshots import SnapshotFormat, SnapshotProgress, write_snapshot

_POLL_S = 0.2
_ANSWER_S = 60.0
_BLOCK_BYTES = 2**20


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dest", metavar="DEST", type=Path, help="what must not exist yet")
    destination: Path = parser.parse_args(arguments).dest.expanduser()
    try:
        _export(destination)
    except (StoreError, OSError, zipfile.BadZipFile) as error:
        hint = error.hint if isinstance(error, StoreError) else "Check space and permissions there."
        message = error.message if isinstance(error, StoreError) else f"{error}."
        print(f"error: {message} ({hint})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: Stopped; nothing was written.", file=sys.stderr)
        return 1
    size = sum(
        path.stat().st_size for path in [destination, *destination.rglob("*")] if path.is_file()
    )
    print(f"{destination}: {size / 1e6:,.1f} MB")
    return 0


def _export(destination: Path) -> None:
    """Raises StoreError or OSError; nothing is left at the destination then."""
    if destination.exists():
        raise SnapshotError(f"{destination} exists already.", "Name what does not exist yet.")
    format: SnapshotFormat = "duckdb" if destination.suffix == ".duckdb" else "parquet"
    is_folder = destination.suffix not in (".duckdb", ".zip")
    file = destination.with_name(f".{destination.name}.zip") if is_folder else destination
    unpacked = destination.with_name(f".{destination.name}.part")
    try:
        _write(file, format)
        if is_folder:
            with zipfile.ZipFile(file) as archive:
                archive.extractall(unpacked)
            unpacked.rename(destination)
    finally:
        if is_folder:
            file.unlink(missing_ok=True)
            shutil.rmtree(unpacked, ignore_errors=True)


def _write(file: Path, format: SnapshotFormat) -> None:
    path = StoreSettings().featurebook_store.expanduser()
    if not path.exists():
        raise StoreError(
            f"There is no store at {path} yet.",
            "Ask a question first, or set FEATUREBOOK_STORE to another file.",
        )
    with _progress() as progress:
        task = progress.add_task("reading", total=None)

        def show(now: SnapshotProgress) -> None:
            progress.update(
                task, description=now.part, completed=now.rows_done, total=now.rows_total
            )

        try:
            store = Store.open(path)
        except StoreLockedError as error:
            _fetch(error, file, format, progress)
            return
        try:
            write_snapshot(store, file, format, show)
        finally:
            store.close()


def _fetch(
    locked: StoreLockedError, file: Path, format: SnapshotFormat, progress: Progress
) -> None:
    """Has the server that holds the store write it, and fetches the file."""
    server = ServerAddress()
    print(f"note: {locked.message} Asking {server.url}.", file=sys.stderr)
    try:
        job = _ask(server, "POST", "/api/snapshots", {"format": format})
        address = f"/api/snapshots/{job['job_id']}"
        try:
            _follow(server, address, progress)
        except KeyboardInterrupt:
            _ask(server, "DELETE", address)
            raise
        draft = file.with_name(f".{file.name}.part")
        try:
            with (
                server.open("GET", f"{address}/content", _ANSWER_S) as answer,
                draft.open("wb") as out,
            ):
                shutil.copyfileobj(answer, out, _BLOCK_BYTES)
                if out.tell() != int(answer.headers["content-length"]):
                    raise SnapshotError("The server broke off.", "Run the command again.")
            os.replace(draft, file)
        finally:
            draft.unlink(missing_ok=True)
    except HTTPError as error:
        raise said_by(server, error) from error
    except (URLError, ConnectionError, TimeoutError, ValueError, KeyError) as error:
        raise server.is_silent(locked) from error


def _follow(server: ServerAddress, address: str, progress: Progress) -> None:
    [task] = progress.task_ids
    while (job := _ask(server, "GET", address))["state"] == "running":
        progress.update(
            task,
            description=str(job["part"]),
            completed=int(str(job["rows_done"])),
            total=int(str(job["rows_total"])) or None,
        )
        time.sleep(_POLL_S)
    if job["state"] != "done":
        reason = str(job["failure"]) or f"The snapshot was {job['state']}."
        raise SnapshotError(reason, "Run the command again.")


def _ask(
    server: ServerAddress, method: str, path: str, content: dict[str, object] | None = None
) -> dict[str, object]:
    with server.open(method, path, _ANSWER_S, content) as answer:
        job: dict[str, object] = json.loads(answer.read())
    return job


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress


if __name__ == "__main__":
    sys.exit(main())
