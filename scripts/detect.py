"""Detectors of made-up answers: trained and measured on a question set, listed, applied, retired.

`evaluate` asks the set's questions where no answer is stored, judges the answers, trains every
detector and baseline, and measures all of them on held-out groups; the same again is read from the
store. `score` applies a detector to stored runs, for SQL, or to one run, for reading.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import get_args

from engine.api import (
    SITE_TITLES,
    DetectionSettings,
    Engine,
    EngineSettings,
    FillRequest,
    LabelMethod,
    TaskView,
)
from engine.errors import EngineError
from scripts._detect_output import (
    evaluation_content,
    print_cards,
    print_evaluation,
    print_json,
    print_score,
)
from scripts._task_progress import follow
from store.connection import Store
from store.errors import StoreError
from store.runs import RunRepository
from store.settings import StoreSettings

_TOOLS = {"off": (False,), "on": (True,), "both": (False, True)}


class _FailedTask(Exception):  # noqa: N818 - carries what a task says at its end
    def __init__(self, view: TaskView) -> None:
        super().__init__()
        self.view = view


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    options = _parser().parse_args(arguments)
    run: Callable[[Engine, argparse.Namespace], None] = options.run
    try:
        store = Store.open(StoreSettings().featurebook_store)
        try:
            engine = Engine(RunRepository(store), EngineSettings())
            try:
                run(engine, options)
            finally:
                engine.close()
        finally:
            store.close()
    except (StoreError, EngineError) as error:
        return _fail(error.message, error.hint)
    except _FailedTask as failed:
        failure = failed.view.failure
        if failure is None:
            return _fail("Cancelled; what was finished is stored.", "Run it again to resume.")
        return _fail(failure.message, failure.hint)
    except KeyboardInterrupt:
        return _fail("Stopped; what was finished is stored.", "Run it again to resume.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    evaluate = commands.add_parser("evaluate", help="train and measure on a question set")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument(
        "--source", help="name of a source (default: FEATUREBOOK_SOURCE, or demo)"
    )
    evaluate.add_argument("--set", required=True, metavar="NAME", help="name of a question set")
    evaluate.add_argument(
        "--tools", choices=list(_TOOLS), default="off", help="answers to learn from (default: off)"
    )
    evaluate.add_argument(
        "--labels",
        choices=get_args(LabelMethod),
        default="verdict",
        help="whose judgements count (default: verdict, the strongest of each answer)",
    )
    evaluate.add_argument(
        "--all-topics", action="store_true", help="keep topics that have nearly one class alone"
    )
    evaluate.add_argument(
        "--sites", metavar="A,B", help=f"where features are read: {', '.join(SITE_TITLES)}"
    )
    evaluate.add_argument("--limit", type=int, metavar="N", help="fill only the first N questions")
    evaluate.add_argument(
        "--fill",
        choices=["off", "both", "none"],
        default="both",
        help="ask what is not answered, with tools off, or off and on, or not at all",
    )
    evaluate.add_argument("--no-residuals", action="store_true", help="leave out dense probes")
    evaluate.add_argument(
        "--shuffle", type=int, metavar="SEED", help="shuffle the labels: what chance reaches"
    )
    evaluate.add_argument("--redo", action="store_true", help="compute again what is stored")
    evaluate.add_argument("--json", action="store_true", help="print everything as JSON")
    listing = commands.add_parser("list", help="stored detectors")
    listing.set_defaults(run=_list)
    listing.add_argument("--source", help="only of this source")
    listing.add_argument("--all", action="store_true", help="retired ones and baselines too")
    listing.add_argument("--json", action="store_true", help="print them as JSON")
    retire = commands.add_parser("retire", help="take a detector out of use")
    retire.set_defaults(run=_retire)
    retire.add_argument("detector", metavar="ID", help="of the detector")
    score = commands.add_parser("score", help="apply a detector to stored runs")
    score.set_defaults(run=_score)
    score.add_argument("detector", metavar="ID", help="of the detector")
    score.add_argument("--where", default="", metavar="FILTER", help="runs, such as tools:no")
    score.add_argument("--run", dest="run_key", metavar="KEY", help="one run, shown in full")
    score.add_argument(
        "--fpr", type=float, default=0.1, metavar="RATE", help="false alarms allowed (default: .1)"
    )
    score.add_argument("--json", action="store_true", help="print it as JSON")
    return parser


def _evaluate(engine: Engine, options: argparse.Namespace) -> None:
    started = time.monotonic()
    person = getpass.getuser()
    source = str(options.source) if options.source else engine.sources()[0].name
    kept = engine.confabulation.ensure_set(options.set, source, person)
    settings = DetectionSettings(
        label_method=options.labels,
        tools=options.tools,
        topics="all" if options.all_topics else "balanced",
        sites=tuple(options.sites.split(",")) if options.sites else DetectionSettings().sites,
        with_residuals=not options.no_residuals,
        shuffle_seed=options.shuffle,
    )
    fill: dict[str, object] = {}
    if options.fill != "none":
        tools = _TOOLS["both" if options.tools != "off" else options.fill]
        if not _has_tools(engine, source):
            tools = (False,)
        request = FillRequest(kept.name, source, tools, options.limit, asked_by=person)
        view = _done(follow(engine, engine.confabulation.start_fill(request)))
        fill = {**view.result, "elapsed_s": round(view.elapsed_s, 2)}
    view = _done(
        follow(
            engine,
            engine.confabulation.detectors.start_evaluation(
                kept.name, source, settings, person, options.redo
            ),
        )
    )
    found = engine.confabulation.detectors.find_evaluation(str(view.result["evaluation_id"]))
    if found is None:
        raise EngineError("The evaluation was taken out of the store.", "Run it again.")
    if options.json:
        print_json(evaluation_content(found, fill, time.monotonic() - started))
    else:
        print_evaluation(found)


def _has_tools(engine: Engine, source: str) -> bool:
    return any(item.name == source and item.tool_names for item in engine.sources())


def _list(engine: Engine, options: argparse.Namespace) -> None:
    cards = engine.confabulation.detectors.list_detectors(options.source, options.all)
    if not options.all:
        cards = tuple(card for card in cards if card.kind == "candidate")
    if options.json:
        print_json([asdict(card) for card in cards])
    else:
        print_cards(cards)


def _retire(engine: Engine, options: argparse.Namespace) -> None:
    card = engine.confabulation.detectors.retire(options.detector, getpass.getuser())
    print(f"{card.name} ({card.detector_id}) is retired; its figures and scores stay.")


def _score(engine: Engine, options: argparse.Namespace) -> None:
    detectors = engine.confabulation.detectors
    if options.run_key:
        score = detectors.score_run(options.detector, options.run_key, options.fpr)
        if options.json:
            print_json(asdict(score))
        else:
            print_score(score)
        return
    started = detectors.start_scoring(options.detector, options.where, getpass.getuser())
    view = _done(follow(engine, started))
    threshold = detectors.threshold(options.detector, options.fpr)
    if options.json:
        print_json({**view.result, "threshold": asdict(threshold)})
        return
    print(
        f"{view.result['n_scored']:,} runs scored, {view.result['n_passed_over']:,} could not be; "
        f"flag from {threshold.score:.4g} on for {threshold.false_positive_rate:.0%} false alarms."
    )


def _done(view: TaskView) -> TaskView:
    if view.state != "done":
        raise _FailedTask(view)
    return view


def _fail(message: str, hint: str) -> int:
    print(f"error: {message}{f' ({hint})' if hint else ''}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
