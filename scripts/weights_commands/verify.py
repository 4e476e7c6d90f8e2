"""`weights.py verify`: reads every byte of the weights, compares, and with --load runs them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from rich.filesize import decimal

from engine.definitions import SourceDefinition
from engine.weights.hub import hub_of
from engine.weights.inventory import list_components
from engine.weights.parts import VerifyReport
from engine.weights.source_transfers import verify_source
from scripts.weights_commands.context import Context, Subparsers
from scripts.weights_commands.transfer_progress import show_progress
from scripts.weights_commands.wording import count

_AGAINST = {
    "hub": "compared with the hub",
    "record": "compared with what was noted before",
    "nothing": "read; nothing to compare with, so their checksums were noted",
}


def add_parser(subparsers: Subparsers) -> None:
    """Adds `verify [SOURCE] [--offline] [--load] [--json]`."""
    parser = subparsers.add_parser(
        "verify", help="check the weights byte for byte", description=__doc__
    )
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE", help="one source (default: all that are here)"
    )
    parser.add_argument(
        "--offline", action="store_true", help="compare with what was noted, and not with the hub"
    )
    parser.add_argument(
        "--load", action="store_true", help="load the model and the SAE, and run them once"
    )
    parser.add_argument("--json", action="store_true", help="print the reports as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, context: Context) -> int:
    """Prints a line a component and one a fault; any fault is a failure.

    Raises:
        EngineError: if there is no such source, or `--load` cannot load it.
    """
    if options.source is not None:
        wanted = [context.definition(options.source)]
    else:
        wanted = [item for item in context.definitions.values() if _is_here(item, context)]
    hub = hub_of(context.settings)
    if options.offline:
        hub = replace(hub, is_offline=True)
    found: dict[str, tuple[VerifyReport, ...]] = {}
    for definition in wanted:
        with show_progress() as on_progress:
            found[definition.name] = verify_source(
                definition,
                context.caches,
                context.checksums,
                hub,
                on_progress,
                lambda: False,
                lambda reports: None,
            )
        if options.source is None:
            # of what was not asked for by name, only what is here is looked at
            found[definition.name] = tuple(
                report for report in found[definition.name] if not report.is_absent
            )
        if not options.json:
            _print(definition.name, found[definition.name], context)
    is_sound = all(report.is_sound for reports in found.values() for report in reports)
    loaded = _load(wanted, context, is_quiet=options.json) if options.load and is_sound else {}
    if options.json:
        _print_json(found, loaded)
    elif not wanted:
        context.console.print("No weights of any source are on this machine.")
    return 0 if is_sound else 1


def _is_here(definition: SourceDefinition, context: Context) -> bool:
    statuses = list_components(definition, context.caches, context.checksums)
    return any(status.folder is not None for status in statuses)


def _print(source: str, reports: Sequence[VerifyReport], context: Context) -> None:
    for report in reports:
        context.console.print(f"{source}, {report.component}: {_finding(report)}", soft_wrap=True)
        for fault in report.faults:
            context.console.print(f"  {fault.path}: {fault.reason}", soft_wrap=True)


def _finding(report: VerifyReport) -> str:
    if report.is_absent:
        return "missing"
    state = "right" if report.against != "nothing" else "whole"
    if not report.is_sound:
        state = count(len(report.faults), "fault")
    files = count(report.n_files, "file")
    return f"{state}; {files}, {decimal(report.n_bytes)}, {_AGAINST[report.against]}"


def _print_json(
    found: dict[str, tuple[VerifyReport, ...]], loaded: dict[str, dict[str, object]]
) -> None:
    content = [
        {
            "source": source,
            "is_sound": all(report.is_sound for report in reports),
            "reports": [asdict(report) | {"is_sound": report.is_sound} for report in reports],
            "loaded": loaded.get(source),
        }
        for source, reports in found.items()
    ]
    print(json.dumps(content, ensure_ascii=False, indent=2))


def _load(
    wanted: Sequence[SourceDefinition], context: Context, is_quiet: bool
) -> dict[str, dict[str, object]]:
    # imported here: it brings torch, and reading bytes needs none
    from scripts.weights_commands.trial import try_source

    loaded = {}
    for definition in wanted:
        trial = try_source(definition.name, context.settings)
        loaded[definition.name] = asdict(trial)
        if not is_quiet:
            for line in trial.lines():
                context.console.print(f"{definition.name}: {line}", soft_wrap=True)
    return loaded
