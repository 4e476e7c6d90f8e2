"""`weights.py status`: a row for each component of each source, and what to do about the rest."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from engine.weights.inventory import source_weights
from engine.weights.parts import ComponentStatus, SourceWeights
from scripts.weights_commands.context import Context, Subparsers

_STATES = {
    "folder": "own folder",
    "local": "local",
    "linked": "linked",
    "global": "global",
    "missing": "missing",
    "partial": "partial",
    "broken_link": "broken link",
}
_COMMIT_DIGITS = 12


def add_parser(subparsers: Subparsers) -> None:
    """Adds `status [SOURCE] [--json]`."""
    parser = subparsers.add_parser(
        "status", help="show what is on this machine", description=__doc__
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="one source (default: all)")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, context: Context) -> int:
    """Prints the table, or JSON. Missing weights are no failure.

    Raises:
        UnknownSourceError: if there is no such source.
    """
    wanted = list(context.definitions.values())
    if options.source is not None:
        wanted = [context.definition(options.source)]
    sources = [source_weights(item, context.caches, context.checksums) for item in wanted]
    if options.json:
        print(json.dumps(_to_json(sources, context), ensure_ascii=False, indent=2, default=str))
        return 0
    context.console.print(_table(sources))
    for source in sources:
        for line in _problems(source):
            context.console.print(Text(line), soft_wrap=True)
    free = next((source.free_bytes for source in sources), 0)
    context.console.print(f"{decimal(free)} free in {context.caches.project}", soft_wrap=True)
    if context.caches.is_one:
        context.console.print("The project's cache is the global cache itself.")
    else:
        context.console.print(f"Global cache: {context.caches.shared}", soft_wrap=True)
    return 0


def _table(sources: Sequence[SourceWeights]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("source", "component", "state", "checked", "revision"):
        table.add_column(heading, no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("place", overflow="fold")
    for source in sources:
        for component in source.components:
            table.add_row(*(Text(cell) for cell in _cells(source.source, component)))
    return table


def _cells(source: str, component: ComponentStatus) -> list[str]:
    is_here = component.folder is not None
    return [
        source,
        component.component,
        _STATES[component.state],
        component.check if is_here else "",
        _short(component.revision),
        decimal(component.size_bytes) if component.size_bytes else "",
        _place(component),
    ]


def _short(revision: str | None) -> str:
    if revision is None:
        return ""
    kind, colon, digest = revision.rpartition(":")
    return f"{kind}{colon}{digest[:_COMMIT_DIGITS]}"


def _place(component: ComponentStatus) -> str:
    """Where it is; for a repository its name, with the link's target."""
    place = component.location
    if component.state == "folder" and component.folder is not None:
        place = str(component.folder)
    if component.link_target is None:
        return place
    return f"{place} -> {component.link_target}"


def _problems(source: SourceWeights) -> list[str]:
    """One line a problem, then what helps; what several components share is said once."""
    told: dict[str, list[str]] = {}
    for component in source.components:
        if component.problem:
            told.setdefault(component.problem, []).append(component.component)
    lines = [f"{source.source}, {' and '.join(parts)}: {text}" for text, parts in told.items()]
    hints = dict.fromkeys(component.hint for component in source.components if component.hint)
    return [*lines, *(f"    {hint}" for hint in hints)]


def _to_json(sources: Sequence[SourceWeights], context: Context) -> dict[str, object]:
    return {
        "project_cache": context.caches.project,
        "global_cache": context.caches.shared,
        "free_bytes": next((source.free_bytes for source in sources), 0),
        "sources": [
            {
                "source": source.source,
                "is_complete": source.is_complete,
                "components": [
                    {
                        "is_usable": component.is_usable,
                        **{
                            name: str(value) if isinstance(value, Path) else value
                            for name, value in asdict(component).items()
                        },
                    }
                    for component in source.components
                ],
            }
            for source in sources
        ],
    }
