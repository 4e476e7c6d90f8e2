"""Steering from the command line: sweeps that measure what it does, and vectors of concepts.

`sweep SPEC` does a sweep that is written in a TOML or JSON file, or `demo`: the most confabulation
of a toy source that becomes refusal at a bounded loss of known facts. What is measured is stored: a
sweep that was stopped resumes, and one that was finished is printed at once.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.api import Engine, EngineSettings, SweepReport, TaskView
from engine.errors import EngineError, RequestError
from scripts._task_progress import follow
from store.connection import Store
from store.errors import StoreError
from store.runs import RunRepository
from store.settings import StoreSettings

_READY_MADE = "demo"
_Command = Callable[[Engine, argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    options = _parser().parse_args(arguments)
    command: _Command = options.run
    try:
        store = Store.open(StoreSettings().featurebook_store)
        try:
            engine = Engine(RunRepository(store), EngineSettings())
            try:
                return command(engine, options)
            finally:
                engine.close()
        finally:
            store.close()
    except (StoreError, EngineError) as error:
        return _fail(error.message, error.hint)
    except OSError as error:
        return _fail(f"The file {error.filename} cannot be used: {error.strerror}.", "")
    except KeyboardInterrupt:
        return _fail("Stopped; what was measured is stored.", "Run it again to resume.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    sweep = commands.add_parser("sweep", help="measure what steering does")
    sweep.add_argument("spec", metavar="SPEC", help="a TOML or JSON file, or demo")
    sweep.add_argument("--questions", type=int, metavar="N", help="of each kind and half (demo)")
    _end(sweep, _sweep)
    vectors = commands.add_parser("vectors", help="vectors of concepts")
    actions = vectors.add_subparsers(metavar="ACTION", required=True)
    _end(actions.add_parser("list", help="what is stored"), _list_vectors)
    make = actions.add_parser("make", help="make vectors from a file of pairs")
    make.add_argument("file", type=Path, metavar="FILE", help="TOML, JSON lines, or two columns")
    make.add_argument("--name", help="of the concept (default: the file's)")
    _end(make, _make_vectors)
    bring = actions.add_parser("import", help="read a safetensors or GGUF file")
    bring.add_argument("file", type=Path, metavar="FILE")
    bring.add_argument("--name", help="of the concept (default: the file's own)")
    _end(bring, _import_vectors)
    export = actions.add_parser("export", help="write vectors of a concept, or of ids, to files")
    export.add_argument("wanted", nargs="+", metavar="CONCEPT_OR_ID")
    export.add_argument("--gguf", action="store_true", help="as a GGUF control vector")
    export.add_argument("--to", type=Path, default=Path(), metavar="FOLDER")
    _end(export, _export_vectors)
    prepare = actions.add_parser("prepare", help="make the vectors of the library")
    prepare.add_argument("concepts", nargs="*", metavar="CONCEPT", help="default: all")
    _end(prepare, _prepare)
    return parser


def _end(parser: argparse.ArgumentParser, run: _Command) -> None:
    parser.add_argument("--source", help="name of a source (default: FEATUREBOOK_SOURCE, or demo)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def _sweep(engine: Engine, options: argparse.Namespace) -> int:
    steering = engine.steering
    if options.spec == _READY_MADE:
        spec = steering.demo_sweep(_source(engine, options), options.questions)
    else:
        spec = steering.read_sweep_spec(Path(options.spec).read_bytes(), options.source)
    view = _wait(engine, steering.start_sweep(spec, getpass.getuser()))
    report = steering.sweep(str(view.result["sweep_id"]))
    if options.json:
        print(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
    else:
        _print_report(report)
    return 0


def _list_vectors(engine: Engine, options: argparse.Namespace) -> int:
    found = engine.steering.vectors(_source(engine, options))
    rows = [
        {
            "vector_id": item.vector_id,
            "name": item.name,
            "concept": item.concept,
            "layer": item.layer,
            "method": item.method,
            "n_pairs": item.n_pairs,
            "norm": item.norm,
            "reliability": item.reliability,
        }
        for item in found
    ]
    _print_rows(rows, options.json)
    return 0


def _make_vectors(engine: Engine, options: argparse.Namespace) -> int:
    file: Path = options.file
    pairs = engine.steering.read_pairs(
        options.name or file.stem, file.read_bytes(), file_name=file.name
    )
    source = _source(engine, options)
    view = _wait(engine, engine.steering.make_vectors(source, pairs, getpass.getuser()))
    profile = engine.steering.layer_profile(source, str(view.result["concept"]))
    rows = [
        {
            "layer": row.layer,
            "vector_id": row.vector_id,
            "norm": row.norm,
            "reliability": row.reliability,
            "separation": row.separation,
            "is_reliable": row.is_reliable,
        }
        for row in profile
    ]
    _print_rows(rows, options.json)
    return 0


def _import_vectors(engine: Engine, options: argparse.Namespace) -> int:
    file: Path = options.file
    beside = file.with_suffix(".json")
    metadata = beside.read_bytes() if beside.exists() and beside != file else None
    found = engine.steering.import_vectors(
        _source(engine, options),
        file.read_bytes(),
        file.name,
        getpass.getuser(),
        metadata,
        options.name or "",
    )
    rows = [{"vector_id": item.vector_id, "name": item.name, "layer": item.layer} for item in found]
    _print_rows(rows, options.json)
    return 0


def _export_vectors(engine: Engine, options: argparse.Namespace) -> int:
    steering = engine.steering
    ids: list[str] = []
    for wanted in options.wanted:
        profile = {
            item.layer: item.vector_id
            for item in reversed(steering.vectors(_source(engine, options), concept=wanted))
        }
        ids += profile.values() or [wanted]
    files = steering.export_vectors(ids, "gguf" if options.gguf else "safetensors")
    options.to.mkdir(parents=True, exist_ok=True)
    for file in files:
        (options.to / file.name).write_bytes(file.data)
    _print_rows([{"file": str(options.to / file.name)} for file in files], options.json)
    return 0


def _prepare(engine: Engine, options: argparse.Namespace) -> int:
    source = _source(engine, options)
    names = options.concepts or None
    view = _wait(engine, engine.steering.prepare_library(source, getpass.getuser(), names))
    _print_rows([dict(view.result)], options.json)
    return 0


def _source(engine: Engine, options: argparse.Namespace) -> str:
    return str(options.source) if options.source else engine.sources()[0].name


def _wait(engine: Engine, view: TaskView) -> TaskView:
    """Waits for the task.

    Raises:
        RequestError: if it failed, with its reason.
    """
    view = follow(engine, view)
    if view.failure is not None:
        raise RequestError(view.failure.message, view.failure.hint)
    if view.state != "done":
        raise RequestError("The work was cancelled.", "Run it again to resume.")
    return view


def _print_report(report: SweepReport) -> None:
    toy = "toy: " if report.is_toy else ""
    print(f"{toy}{report.sweep.name} on {report.sweep.source_name}, sweep {report.sweep.sweep_id}")
    print(f"{len(report.cells)} cells; what follows is of the half that nothing was chosen on")
    table = Table("arm", "strength", "layer", "reduction or success", "loss or side effects", "n")
    for name, arm in report.arms.items():
        success = arm.get("reduction") or arm.get("success")
        loss = arm.get("known_accuracy_loss") or arm.get("side_effects")
        n = str(arm.get("n_unknown") or arm.get("n"))
        row = (f"{arm['strength']:g} {arm['unit']}", str(arm["layer"]))
        table.add_row(name, *row, _shown(success), _shown(loss), n)
    Console().print(table)
    if report.best is not None:
        print(f"best, by the half to choose by: {report.best['arm']}")


def _shown(estimate: Any) -> str:
    if not estimate or estimate["value"] is None:
        return "-"
    low, high = estimate["low"], estimate["high"]
    return f"{estimate['value']:.3f} ({low:.3f} to {high:.3f})"


def _print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not rows:
        print("Nothing is stored.", file=sys.stderr)
        return
    table = Table(*rows[0])
    for row in rows:
        shown = (f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values())
        table.add_row(*shown)
    Console().print(table)


def _fail(message: str, hint: str) -> int:
    print(f"error: {message}{f' ({hint})' if hint else ''}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
