"""`weights.py import`: a folder that was downloaded by hand becomes an entry of the cache.

On one disk nothing is copied: the entry's files are further names of the same files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from engine.weights.adopt import AdoptProgress, adopt_folder
from engine.weights.locate import Located
from scripts.weights_commands.context import Context, Subparsers


def add_parser(subparsers: Subparsers) -> None:
    """Adds `import FOLDER REPO_ID [--revision R] [--copy]`."""
    parser = subparsers.add_parser(
        "import", help="make a cache entry of a folder downloaded by hand", description=__doc__
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="holds the files")
    parser.add_argument("repo_id", metavar="REPO_ID", help="whose files they are: org/name")
    parser.add_argument(
        "--revision", metavar="R", help="branch, tag or commit that was downloaded (default: main)"
    )
    parser.add_argument(
        "--copy", action="store_true", help="copy the files where the folder is on another disk"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, context: Context) -> int:
    """Imports the folder, and prints where the entry is.

    Raises:
        WeightsMissingError, NoSpaceError: as `adopt_folder` does.
    """
    located = _adopt_with_progress(options, context)
    context.console.print(f"{located.name} is in the cache: {located.folder}", soft_wrap=True)
    context.console.print(f"Commit {located.commit}; the folder itself was not changed.")
    return 0


def _adopt_with_progress(options: argparse.Namespace, context: Context) -> Located:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("reading", total=None)

        def show(progress: AdoptProgress) -> None:
            bar.update(
                task,
                description=progress.current or "linking",
                completed=progress.n_bytes,
                total=progress.total_bytes,
            )

        return adopt_folder(
            options.folder,
            options.repo_id,
            context.caches,
            revision=options.revision,
            may_copy=options.copy,
            on_progress=show,
        )
