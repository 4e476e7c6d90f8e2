"""Shows what takes space in the store, or removes runs by a rule after saying what would go.

Without a rule nothing is removed. Runs that have an outcome are kept unless --with-judged is given,
and a run that others begin with stays as long as they do. The space is used again by later runs; a
smaller file is what scripts/export.py writes.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from store.connection import Store
from store.errors import StoreError
from store.removal import delete_runs
from store.retention import (
    RemovalPlan,
    RetentionRule,
    get_used_bytes,
    list_space,
    plan_removal,
)
from store.settings import StoreSettings

_MAX_PROMPT = 70


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for days in (options.older_than, options.unused_for):
        if days is not None and not 0 <= days < 100_000:
            parser.error("DAYS is a number from 0 on")
    rule = RetentionRule(
        source=options.source,
        kind=options.kind,
        created_before=_before(options.older_than),
        unused_since=_before(options.unused_for),
        with_judged=options.with_judged,
    )
    try:
        path = StoreSettings().featurebook_store.expanduser()
        if not path.exists():
            raise StoreError(f"There is no store at {path} yet.", "Ask a question first.")
        store = Store.open(path)
        try:
            if rule == RetentionRule(with_judged=rule.with_judged):
                _show_space(store)
                return 0
            return _remove(store, rule, options.yes)
        finally:
            store.close()
    except StoreError as error:
        print(f"error: {error.message} ({error.hint})", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("error: Stopped; nothing was removed.", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", help="only runs of this source, by id or name")
    parser.add_argument("--kind", choices=["generation", "text"], help="only runs of this kind")
    parser.add_argument(
        "--older-than", type=float, metavar="DAYS", help="only runs computed before that"
    )
    parser.add_argument(
        "--unused-for", type=float, metavar="DAYS", help="only runs nobody has asked for since"
    )
    parser.add_argument("--with-judged", action="store_true", help="also runs that have an outcome")
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    return parser


def _before(days: float | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) - timedelta(days=days)


def _show_space(store: Store) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("source", "kind", "runs", "tokens", "activations", "oldest", "newest"):
        is_number = column in ("runs", "tokens", "activations")
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for use in list_space(store):
        table.add_row(
            Text(use.source_id),
            use.kind,
            f"{use.n_runs:,}",
            f"{use.n_tokens:,}",
            f"{use.n_activations:,}",
            f"{use.oldest:%Y-%m-%d}",
            f"{use.newest:%Y-%m-%d}",
        )
    console = Console(highlight=False)
    console.print(table)
    free_bytes = max(0, store.size_bytes - get_used_bytes(store))
    console.print(
        f"{store.path.name}: {store.size_bytes / 1e6:,.1f} MB, {free_bytes / 1e6:,.1f} of them free"
    )


def _remove(store: Store, rule: RetentionRule, is_agreed: bool) -> int:
    plan = plan_removal(store, rule)
    print(_describe(plan, store))
    if not plan.run_keys:
        return 0
    if not is_agreed:
        if not sys.stdin.isatty():
            raise StoreError("Nothing was removed.", "Add --yes to remove these runs.")
        if input("Remove them? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was removed.")
            return 0
    n_removed = delete_runs(store, plan.run_keys)
    kept = len(plan.run_keys) - n_removed
    print(
        f"{n_removed:,} removed." + (f" {kept:,} stay: other runs begin with them." if kept else "")
    )
    return 0


def _describe(plan: RemovalPlan, store: Store) -> str:
    if not plan.run_keys:
        return "No run is meant by this rule."
    size = plan.share * store.size_bytes
    lines = [
        f"{len(plan.run_keys):,} runs with {plan.n_tokens:,} tokens and {plan.n_activations:,} "
        f"activations would go, about {size / 1e6:,.1f} MB ({plan.share:.0%}). The oldest:"
    ]
    lines += [f"  {_shown(prompt)}" for prompt in plan.prompts]
    return "\n".join(lines)


def _shown(prompt: str) -> str:
    """On one line, and without control characters: text of people must not drive a terminal."""
    line = "".join(c if c.isprintable() else " " for c in prompt)
    return line if len(line) <= _MAX_PROMPT else line[: _MAX_PROMPT - 1] + "…"


if __name__ == "__main__":
    sys.exit(main())
