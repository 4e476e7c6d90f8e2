"""`weights.py clear`: removes weights from a cache, after saying what goes and what stays."""

from __future__ import annotations

import argparse
import sys

from engine.errors import RequestError
from engine.weights.clear import ClearItem, ClearPlan, clear, plan_clear
from scripts.weights_commands.context import Context, Subparsers
from scripts.weights_commands.wording import count, exact_bytes


def add_parser(subparsers: Subparsers) -> None:
    """Adds `clear SOURCE [--local | --global] [--yes]`."""
    parser = subparsers.add_parser(
        "clear", help="remove the weights of a source from a cache", description=__doc__
    )
    parser.add_argument("source", metavar="SOURCE", help="a source, or a repository: org/name")
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument(
        "--local",
        dest="scope",
        action="store_const",
        const="local",
        help="from the project's cache; of a link, the link alone (default)",
    )
    scope.add_argument(
        "--global",
        dest="scope",
        action="store_const",
        const="global",
        help="from the global cache, which other programs use too",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run, scope="local")


def run(options: argparse.Namespace, context: Context) -> int:
    """Prints the plan, asks, and does it. Nothing to remove is no failure; a refusal is.

    Raises:
        WeightsMissingError: if the weights are the user's own folders, or cannot be removed.
        RequestError: if nobody can be asked and `--yes` is not given.
    """
    plan = plan_clear(
        options.source, options.scope, context.definitions, context.caches, context.checksums
    )
    for item in plan.items:
        context.console.print(f"removes {_item(item)}", soft_wrap=True)
    for name, sources in plan.needed_by.items():
        which = "source" if len(sources) == 1 else "sources"
        told = f"{name} is needed by the {which} {', '.join(sources)}"
        context.console.print(told, soft_wrap=True)
    for kept in plan.keeps:
        context.console.print(f"keeps {kept}", soft_wrap=True)
    if not plan.items:
        context.console.print(f"Nothing of {plan.what!r} is to be removed from {plan.cache}.")
        return 0
    if not options.yes and not _is_confirmed(plan):
        print("Nothing was removed.", file=sys.stderr)
        return 1
    clear(plan)
    context.console.print(f"Removed; {exact_bytes(plan.freed_bytes)} are free again.")
    return 0


def _amount(plan: ClearPlan) -> str:
    """What a person is asked to agree to: bytes, or links where none are freed."""
    n_links = sum(item.kind == "link" for item in plan.items)
    if n_links == len(plan.items):
        return count(n_links, "link")
    return exact_bytes(plan.freed_bytes)


def _item(item: ClearItem) -> str:
    if item.kind == "link":
        return f"the link {item.path} (not what it leads to)"
    shared = (
        f"; {exact_bytes(item.shared_bytes)} stay, used elsewhere too" if item.shared_bytes else ""
    )
    return f"{item.name}: {exact_bytes(item.freed_bytes)} in {item.path}{shared}"


def _is_confirmed(plan: ClearPlan) -> bool:
    if not sys.stdin.isatty():
        raise RequestError(
            f"Removing {_amount(plan)} needs a confirmation, and nobody can be asked.",
            "Give --yes to remove without asking.",
        )
    where = "the global cache" if plan.scope == "global" else "the project's cache"
    print(f"Remove {_amount(plan)} from {where}? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
