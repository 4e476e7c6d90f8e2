"""Asks one question through the memo and prints the answer, or the whole run as JSON."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engine.api import Engine, EngineSettings, JobView, RunRequest
from engine.errors import EngineError
from store.connection import Store
from store.errors import InvalidSpecError, StoreError
from store.records import StoredRun
from store.runs import RunRepository
from store.settings import StoreSettings
from store.specs import Message, SamplingSpec, SteeringSpec, parse_interventions

_POLL_S = 0.1


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    options = _parser().parse_args(arguments)
    try:
        sampling = SamplingSpec(
            options.max_new_tokens, options.temperature, options.top_p, options.top_k, options.seed
        )
        request = RunRequest(
            (Message("user", options.prompt),),
            source=options.source,
            kind="text" if options.read else "generation",
            tools=options.tools,
            sampling=sampling,
            steering=_steering(options.steer),
            created_by=getpass.getuser(),
        )
        stored, view = _ask(request)
    except (StoreError, EngineError) as error:
        return _fail(error.message, error.hint)
    except KeyboardInterrupt:
        return _fail("Cancelled; nothing of this run is stored.", "")
    if view.failure is not None:
        return _fail(view.failure.message, view.failure.hint)
    if stored is None:
        return _fail("Cancelled; nothing of this run is stored.", "")
    _print(stored, view, options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt", metavar="PROMPT", help="what to ask")
    parser.add_argument("--source", help="name of a source (default: FEATUREBOOK_SOURCE, or demo)")
    parser.add_argument("--tools", action="store_true", help="offer the source's tools")
    parser.add_argument("--read", action="store_true", help="read PROMPT as a text, answer nothing")
    defaults = SamplingSpec()
    parser.add_argument("--max-new-tokens", type=int, default=defaults.max_new_tokens, metavar="N")
    parser.add_argument("--temperature", type=float, default=defaults.temperature, metavar="T")
    parser.add_argument("--top-p", type=float, default=defaults.top_p, metavar="P")
    parser.add_argument("--top-k", type=int, default=defaults.top_k, metavar="K")
    parser.add_argument("--seed", type=int, default=defaults.seed, metavar="N")
    parser.add_argument(
        "--steer",
        default="[]",
        metavar="JSON",
        help='interventions: \'[{"kind": "add", "feature": 3, "strength": 0.5, "unit": "norm"}]\'',
    )
    parser.add_argument("--json", action="store_true", help="print the run and its tokens as JSON")
    return parser


def _steering(text: str) -> SteeringSpec:
    """Interventions from the command line.

    Raises:
        InvalidSpecError: if they are no JSON, or not as they must be.
    """
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise InvalidSpecError(
            "steer", f"--steer is no JSON: {error}.", "Put the whole list in single quotes."
        ) from error
    return parse_interventions(plain)


def _ask(request: RunRequest) -> tuple[StoredRun | None, JobView]:
    store = Store.open(StoreSettings().featurebook_store)
    try:
        runs = RunRepository(store)
        engine = Engine(runs, EngineSettings())
        try:
            view = _follow(engine, engine.submit(request))
        finally:
            engine.close()
        return (runs.get_run(view.run_key) if view.state == "done" else None), view
    finally:
        store.close()


def _follow(engine: Engine, view: JobView) -> JobView:
    """Waits for the job, with progress on standard error where a person is looking."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(view.state, total=None)
        while view.is_active:
            view = engine.wait(view.job_id, timeout_s=_POLL_S)
            bar.update(
                task, description=view.state, completed=view.n_done, total=view.n_total or None
            )
    return view


def _print(stored: StoredRun, view: JobView, as_json: bool) -> None:
    if as_json:
        content = asdict(stored.run)
        content["memoized"] = view.memoized
        content["steering"] = json.loads(stored.run.steering)
        content["created_at"] = stored.run.created_at.isoformat()
        content["tokens"] = [asdict(token) for token in stored.tokens]
        print(json.dumps(content, ensure_ascii=False, indent=2))
        return
    run = stored.run
    print(run.response if run.kind == "generation" else f"Read {run.n_prompt_tokens} tokens.")
    origin = "from the store, first computed" if view.memoized else "computed"
    print(f"({origin} in {run.compute_s:.2f} s; run {run.run_key})", file=sys.stderr)


def _fail(message: str, hint: str) -> int:
    print(f"error: {message}{f' ({hint})' if hint else ''}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
