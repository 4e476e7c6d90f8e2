"""`weights.py download`: fetches the weights of a source, after saying what that takes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.filesize import decimal

from engine.catalog import Catalog
from engine.errors import HF_COMMAND, RequestError
from engine.registry import resolve_location
from engine.weights.hub import hub_of
from engine.weights.parts import DownloadPlan
from engine.weights.source_transfers import check_room, download_source, plan_source
from scripts.weights_commands.context import Context, Subparsers
from scripts.weights_commands.transfer_progress import show_progress
from scripts.weights_commands.wording import count, exact_bytes

_STOPPED = "Stopped. Finished files are kept; the next call fetches the rest."
_MOST_WORKERS = 32


def add_parser(subparsers: Subparsers) -> None:
    """Adds `download SOURCE [--yes] [--max-workers N] [--revision R] [--json]`."""
    parser = subparsers.add_parser(
        "download",
        help="fetch the weights of a source from the hub",
        description=__doc__,
        epilog=f"Gated repositories want a token: HF_TOKEN, or {HF_COMMAND} auth login.",
    )
    parser.add_argument("source", metavar="SOURCE", help="a source, as `status` lists them")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--max-workers",
        type=_workers,
        default=4,
        metavar="N",
        help="files fetched at the same time (default: 4)",
    )
    parser.add_argument(
        "--revision", metavar="R", help="branch, tag or commit of the model (default: the source's)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the plan, and what was done, as JSON"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, context: Context) -> int:
    """Prints the plan, asks, fetches and verifies. Nothing to fetch is no failure.

    Raises:
        EngineError: if the plan cannot be made or carried out, or nobody can be asked.
    """
    definition = context.definition(options.source)
    hub = hub_of(context.settings)
    plans = plan_source(
        definition,
        context.caches,
        hub,
        resolve_location=resolve_location,
        revision=options.revision,
    )
    if not options.json:
        _print_plans(plans, options.source, context)
    check_room(plans)
    missing = sum(plan.missing_bytes for plan in plans)
    if missing and not options.yes and not _is_confirmed(options, plans, missing):
        print("Nothing was fetched.", file=sys.stderr)
        return 1
    try:
        with show_progress() as on_progress:
            folders = download_source(
                plans, hub, context.checksums, on_progress, lambda: False, options.max_workers
            )
            Catalog(context.settings).finish_download(definition, lambda: False)
    except KeyboardInterrupt:
        print(_STOPPED, file=sys.stderr)
        return 1
    if options.json:
        _print_json(plans, folders)
        return 0
    for plan, folder in zip(plans, folders, strict=True):
        done = f"{count(len(plan.files), 'file')}, {decimal(plan.total_bytes)}, verified"
        context.console.print(f"{plan.repo_id}: {done}: {folder}", soft_wrap=True)
    if options.revision and options.revision != definition.model_revision:
        context.console.print(
            f"The source reads another revision; to use this one, name {options.revision} in it."
        )
    return 0


def _print_plans(plans: Sequence[DownloadPlan], source: str, context: Context) -> None:
    if not plans:
        context.console.print(f"{source!r} is made of folders of this machine: nothing to fetch.")
        return
    for plan in plans:
        here = plan.total_bytes - plan.missing_bytes
        context.console.print(
            f"{plan.repo_id} at {plan.commit[:12]} ({plan.revision}) -> {plan.cache_dir}",
            soft_wrap=True,
        )
        context.console.print(
            f"  {count(len(plan.files), 'file')}, {exact_bytes(plan.total_bytes)};"
            f" {decimal(here)} are here already, {decimal(plan.missing_bytes)} to fetch;"
            f" {decimal(plan.free_bytes)} free",
            soft_wrap=True,
        )
        for file in plan.files:
            if not file.is_present:
                context.console.print(f"  {file.path}  {decimal(file.size_bytes)}", soft_wrap=True)
        if plan.orphan_bytes:
            context.console.print(
                f"  {decimal(plan.orphan_bytes)} left by an interrupted download are cleared"
            )


def _is_confirmed(options: argparse.Namespace, plans: Sequence[DownloadPlan], missing: int) -> bool:
    if options.json or not sys.stdin.isatty():
        if options.json:
            _print_json(plans, ())
        raise RequestError(
            f"Fetching {exact_bytes(missing)} needs a confirmation, and nobody can be asked.",
            "Give --yes to fetch without asking.",
        )
    print(f"Fetch {exact_bytes(missing)}? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _print_json(plans: Sequence[DownloadPlan], folders: Sequence[Path]) -> None:
    content = {
        "missing_bytes": sum(plan.missing_bytes for plan in plans),
        "plans": [
            asdict(plan) | {"total_bytes": plan.total_bytes, "missing_bytes": plan.missing_bytes}
            for plan in plans
        ],
        "folders": folders,
    }
    print(json.dumps(content, ensure_ascii=False, indent=2, default=str))


def _workers(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= _MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"it is a whole number from 1 to {_MOST_WORKERS}")
    return number
