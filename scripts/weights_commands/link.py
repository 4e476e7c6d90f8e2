"""`weights.py link`: repositories of the global cache become links in the project's cache."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from rich.filesize import decimal

from engine.definitions import SourceDefinition
from engine.weights.link import LinkOutcome, link_repositories, unlink_repositories
from engine.weights.locate import list_repositories
from scripts.weights_commands.context import Context, Subparsers
from scripts.weights_commands.wording import count

_SAYINGS = {
    "linked": "linked",
    "mended": "link mended",
    "already": "was linked already",
    "kept": "left as it is: the project's cache has its own",
    "absent": "is not in the global cache",
    "empty": "left out: no file of it has been finished",
    "unlinked": "link removed",
}


def add_parser(subparsers: Subparsers) -> None:
    """Adds `link [REPO ...] [--unlink]`."""
    parser = subparsers.add_parser(
        "link", help="link what the global cache has, or --unlink", description=__doc__
    )
    parser.add_argument(
        "repositories",
        nargs="*",
        metavar="REPO",
        help="org/name, or a source for all of its repositories (default: everything)",
    )
    parser.add_argument(
        "--unlink", action="store_true", help="remove such links; what they lead to stays"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, context: Context) -> int:
    """Prints a line a repository. A repository that was named and is nowhere is a failure.

    Raises:
        WeightsMissingError: if both caches are one, or a name is no repository's.
    """
    names = _repositories(options.repositories, context.definitions)
    caches, console = context.caches, context.console
    act = unlink_repositories if options.unlink else link_repositories
    outcomes = act(caches, names or None)
    for outcome in outcomes:
        console.print(_sentence(outcome, options.unlink), soft_wrap=True)
    saved = sum(outcome.saved_bytes for outcome in outcomes)
    n_links = sum(outcome.action in ("linked", "mended", "already") for outcome in outcomes)
    if options.unlink:
        n_gone = sum(outcome.action == "unlinked" for outcome in outcomes)
        console.print(f"{count(n_gone, 'link')} removed; the global cache is as it was.")
    elif outcomes:
        linked = count(n_links, "repository is linked", "repositories are linked")
        console.print(f"{linked}, which saves {decimal(saved)}.")
    else:
        console.print(f"The global cache has no model: {caches.shared}", soft_wrap=True)
    return 1 if names and any(outcome.action == "absent" for outcome in outcomes) else 0


def _sentence(outcome: LinkOutcome, is_unlinking: bool) -> str:
    if is_unlinking and outcome.action == "absent":
        return f"{outcome.repo_id}: is not in the project's cache"
    size = f", {decimal(outcome.saved_bytes)}" if outcome.saved_bytes else ""
    arrow = ", it led to" if outcome.action == "unlinked" else " ->"
    target = f"{arrow} {outcome.target}" if outcome.target else ""
    return f"{outcome.repo_id}: {_SAYINGS[outcome.action]}{size}{target}"


def _repositories(
    names: Sequence[str], definitions: Mapping[str, SourceDefinition]
) -> tuple[str, ...]:
    """The repositories that are meant, each once."""
    found: list[str] = []
    for name in names:
        if name in definitions:
            found += list_repositories(definitions[name])
        else:
            found.append(name)
    return tuple(dict.fromkeys(found))
