"""Labels the features of a source: by rules, without any API; with --hosted by a hosted model.

Labels by rules take seconds to minutes and cost nothing. With --hosted, contexts of the store are
sent to the hosted model; what that would cost is said first, and nothing is sent without --yes.
Either way finished labels are kept: called again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence

from engine.api import Engine, EngineSettings, HostedOffer, TaskView
from engine.errors import EngineError
from scripts._task_progress import follow
from store.connection import Store
from store.errors import StoreError
from store.feature_records import MIN_SCORE
from store.labels import LabelRepository
from store.runs import RunRepository
from store.settings import StoreSettings

_DEFAULT_EXAMPLES = 10


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.yes and not options.hosted:
        parser.error("--yes goes with --hosted")
    try:
        path = StoreSettings().featurebook_store.expanduser()
        if not path.exists():
            raise StoreError(f"There is no store at {path} yet.", "Ask the model something first.")
        store = Store.open(path)
        try:
            engine = Engine(RunRepository(store), EngineSettings())
            try:
                return _label(engine, store, options)
            finally:
                engine.close()
        finally:
            store.close()
    except (StoreError, EngineError) as error:
        return _fail(error.message, error.hint)
    except KeyboardInterrupt:
        return _fail("Stopped; the labels that were finished are kept.", "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "source", metavar="SOURCE", nargs="?", help="name of a source (default: FEATUREBOOK_SOURCE)"
    )
    parser.add_argument(
        "--features", type=int, nargs="+", metavar="N", help="only these (default: all that fired)"
    )
    parser.add_argument("--redo", action="store_true", help="also those that were labelled before")
    parser.add_argument(
        "--hosted", action="store_true", help="by a hosted model: needs ANTHROPIC_API_KEY"
    )
    parser.add_argument("--yes", action="store_true", help="with --hosted: send, and pay")
    parser.add_argument(
        "--examples", type=int, default=_DEFAULT_EXAMPLES, metavar="N", help="labels that are shown"
    )
    return parser


def _label(engine: Engine, store: Store, options: argparse.Namespace) -> int:
    source = options.source or engine.sources()[0].name
    person = getpass.getuser()
    features: Sequence[int] | None = options.features
    if options.hosted:
        offer = engine.features.hosted_offer(source, features)
        _say_offer(offer)
        if offer.needs is not None:
            return _fail(offer.needs, "")
        if not options.yes or not offer.n_features:
            return 0
        view = engine.features.start_hosted_labels(source, person, features)
    else:
        view = engine.features.start_labels(source, person, features, options.redo)
    view = follow(engine, view)
    if view.failure is not None:
        return _fail(view.failure.message, view.failure.hint)
    if view.state == "cancelled":
        return _fail("Stopped; the labels that were finished are kept.", "")
    _say_result(view)
    _show(store, source, "model" if options.hosted else "auto", options.examples)
    return 0


def _say_offer(offer: HostedOffer) -> None:
    cost = "at a price that is not known" if offer.cost_usd is None else f"${offer.cost_usd:.2f}"
    print(
        f"{offer.n_features:,} features by {offer.model}: about {offer.input_tokens:,} tokens read "
        f"and {offer.output_tokens:,} written, {cost}."
    )
    print(offer.price_note)


def _say_result(view: TaskView) -> None:
    result = view.result
    toy = " (toy)" if result["is_toy"] else ""
    print(
        f"{result['n_labelled']:,} features labelled{toy}; {result['n_below']:,} scored below "
        f"{MIN_SCORE:g} and stay unlabelled."
    )
    skipped = {
        "n_before": "labelled before",
        "n_few": "fired on too few contexts",
        "n_no_rule": "no rule fits",
        "n_refused": "refused by the hosted model",
        "n_nonsense": "answered with what cannot be read",
    }
    for name, words in skipped.items():
        if result.get(name):
            print(f"{result[name]:,} {words}.")
    if result.get("cost_usd") is not None:
        print(f"Billed: about ${result['cost_usd']:.4f}.")


def _show(store: Store, source: str, origin: str, n_examples: int) -> None:
    """Labels from all over the scores, best first."""
    current = LabelRepository(store).get_current_labels(source)
    found = [label for label in current.values() if label.origin == origin]
    found.sort(key=lambda label: (-(label.score or 0.0), label.feature))
    step = max(1, len(found) // max(n_examples, 1))
    for label in found[::step][: max(n_examples, 0)]:
        print(f"{label.feature:>7}  {label.score:.2f}  {label.text}")


def _fail(message: str, hint: str) -> int:
    print(f"error: {message}{f' ({hint})' if hint else ''}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
