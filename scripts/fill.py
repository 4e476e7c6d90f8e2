"""Asks a source all questions of a set, with tools and without, and judges the answers.

SET is a set that is kept, `demo`, `demo-large` or `scenarios` (which come with Featurebook), or a
file: CSV, JSON lines or Parquet with the column `question`, and gold, aliases, group and tools
where there are any. What is stored is not asked again: a fill that was stopped resumes.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine.api import Engine, EngineSettings, FillRequest, OutcomeCounts, TaskView
from engine.errors import EngineError, RequestError
from scripts._task_progress import follow
from store.connection import Store
from store.errors import StoreError
from store.runs import RunRepository
from store.settings import StoreSettings

_TOOLS = {"off": (False,), "on": (True,), "both": (False, True)}
_ENDINGS = (".csv", ".jsonl", ".ndjson", ".parquet")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        store = Store.open(StoreSettings().featurebook_store)
        try:
            return _fill(store, options)
        finally:
            store.close()
    except (StoreError, EngineError) as error:
        return _fail(error.message, error.hint)
    except KeyboardInterrupt:
        return _fail("Stopped; what was answered is stored.", "Run it again to resume.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", metavar="SET", help="name of a question set, or a file")
    parser.add_argument("--source", help="name of a source (default: FEATUREBOOK_SOURCE, or demo)")
    parser.add_argument("--tools", choices=list(_TOOLS), default="both", help="default: both")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N questions")
    parser.add_argument("--name", help="of the set that a file becomes (default: the file's)")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    return parser


def _fill(store: Store, options: argparse.Namespace) -> int:
    engine = Engine(RunRepository(store), EngineSettings())
    try:
        person = getpass.getuser()
        name = _import(engine, options, person) or options.set
        tools = _offered(engine, options)
        view = follow(
            engine,
            engine.confabulation.start_fill(
                FillRequest(name, options.source, tools, options.limit, asked_by=person)
            ),
        )
        if view.failure is not None:
            return _fail(view.failure.message, view.failure.hint)
        set_id = str(view.result["set_id"])
        counts = engine.confabulation.count_outcomes(set_id, _source(engine, options))
        _print(engine, options, view, counts)
        return 0
    finally:
        engine.close()


def _import(engine: Engine, options: argparse.Namespace, person: str) -> str | None:
    """The name of the set that a file became; None if no file is meant."""
    path = Path(options.set)
    if path.suffix.lower() not in _ENDINGS:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(
            f"The file {path} cannot be read: {error.strerror}.", "Check its name."
        ) from error
    name = options.name or path.stem
    read = engine.confabulation.import_set(name, content, path.name, person)
    for note in read.notes:
        print(f"note: {note}", file=sys.stderr)
    return name


def _offered(engine: Engine, options: argparse.Namespace) -> tuple[bool, ...]:
    """Without tools alone where `both` is only the default, and the source has none."""
    info = {item.name: item for item in engine.sources()}.get(_source(engine, options))
    if options.tools == "both" and info is not None and not info.tool_names:
        print("note: This source has no tools to offer: asked without.", file=sys.stderr)
        return (False,)
    return _TOOLS[options.tools]


def _source(engine: Engine, options: argparse.Namespace) -> str:
    return str(options.source) if options.source else engine.sources()[0].name


def _print(
    engine: Engine, options: argparse.Namespace, view: TaskView, counts: tuple[OutcomeCounts, ...]
) -> None:
    source = _source(engine, options)
    is_toy = next((item.is_toy for item in engine.sources() if item.name == source), False)
    if options.json:
        content = {
            **view.result,
            "is_toy": is_toy,
            "elapsed_s": round(view.elapsed_s, 2),
            "outcomes": {
                "on" if item.tools else "off": {
                    "n": item.n_answers,
                    "contested": item.n_contested,
                    "verdicts": dict(item.verdicts),
                    "by_method": {name: dict(by) for name, by in item.by_method.items()},
                }
                for item in counts
            },
        }
        print(json.dumps(content, ensure_ascii=False, indent=2))
        return
    toy = " (toy)" if is_toy else ""
    table = Table(title=f"{view.title}{toy}", title_justify="left", box=None, header_style="bold")
    for column in ("tools", "outcome", f"answers{toy}", "share"):
        table.add_column(column, justify="left" if column in ("tools", "outcome") else "right")
    for item in counts:
        for outcome, number in sorted(item.verdicts.items(), key=lambda pair: -pair[1]):
            share = f"{number / item.n_answers:.1%}"
            table.add_row("on" if item.tools else "off", outcome, f"{number:,}", share)
    Console(highlight=False).print(table)
    result = view.result
    print(
        f"{result['n_asked']:,} asked and {result['n_stored']:,} from the store"
        f" in {view.elapsed_s:.1f} s.",
        file=sys.stderr,
    )
    if result["n_failed"]:
        print(f"{result['n_failed']:,} failed: {result['first_failure']}", file=sys.stderr)


def _fail(message: str, hint: str) -> int:
    print(f"error: {message}{f' ({hint})' if hint else ''}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
