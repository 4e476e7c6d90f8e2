"""Labels by a hosted model, as a task: its cost told before, its results kept one by one.

Invariant: nothing is sent before a person has started the task; a feature that this model has
labelled is not asked for again; the subject model never labels itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import RequestError
from engine.feature_files import FeatureFiles, FeatureFilesFinder
from engine.hosted import HostedModel
from engine.hosted_prices import estimate_cost
from engine.lab_context import LabContext
from engine.label_corpus import read_corpus
from engine.labelling.hosted_labels import estimate_label_tokens, label_feature
from engine.settings import EngineSettings
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.feature_records import MIN_SCORE, NewLabel
from store.labels import LabelRepository

MOST_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class HostedOffer:
    """What labels by a hosted model would take.

    Attributes:
        needs: what is missing, one or two sentences; None if nothing is.
        model: that would be asked.
        n_features: that would be labelled; those that it labelled before are not among them.
        input_tokens, output_tokens: about what would be billed.
        cost_usd: None where the price is not known. price_note: on what it rests.
    """

    needs: str | None
    model: str
    n_features: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    price_note: str


class HostedLabelWork:
    """Labels by a hosted model, of one engine."""

    def __init__(
        self, context: LabContext, files: FeatureFilesFinder, settings: EngineSettings
    ) -> None:
        self._context = context
        self._files = files
        self._settings = settings
        self._labels = LabelRepository(context.store)

    def offer(self, source: str, features: Sequence[int] | None = None) -> HostedOffer:
        """What labelling would take; sends nothing. It reads a sample of runs: a second or so.

        Args:
            source: name or id.
            features: those wanted; None is all that have fired, at most MOST_AT_ONCE of them.

        Raises:
            EngineError: if the source's files are not here.
            StoreError: if nothing of it is stored.
        """
        files = self._files.find(source)
        model = HostedModel(self._settings)
        corpus = read_corpus(self._context.store, files.source_id, files.toy_seed)
        left = self._left(files, model, features, np.diff(corpus.fires.indptr))
        n_read, n_written = estimate_label_tokens(corpus, left)
        cost = estimate_cost(model.model, n_read, n_written)
        return HostedOffer(
            needs=model.needs(),
            model=model.model,
            n_features=len(left),
            input_tokens=n_read,
            output_tokens=n_written,
            cost_usd=cost.usd,
            price_note=cost.note,
        )

    def start(self, source: str, asked_by: str, features: Sequence[int] | None = None) -> TaskView:
        """Begins to label, or joins what is under way.

        Raises:
            HostedKeyError: if there is no key.
            RequestError: if the hosted model is the one whose features these are, or for features
                that the source does not have, or for too many at once.
            EngineError: if the source's files are not here.
        """
        files = self._files.find(source)
        model = HostedModel(self._settings)
        model.check_key()
        if model.model.lower() in (files.model_id.lower(), files.name.lower()):
            raise RequestError(
                "A model does not label its own features.",
                "Set ANTHROPIC_MODEL to another model than the one that is studied.",
            )
        wanted = None if features is None else tuple(sorted(set(features)))
        if wanted is not None and any(not 0 <= item < files.d_sae for item in wanted):
            raise RequestError(
                f"The source {files.name!r} does not have all of these features.",
                f"Its features are 0 to {files.d_sae - 1}.",
            )
        if len(wanted or ()) > MOST_AT_ONCE:
            raise RequestError(
                f"{len(wanted or ()):,} features are too many at once.",
                f"Choose at most {MOST_AT_ONCE:,}.",
            )
        return self._context.tasks.start(
            "hosted-labels",
            f"{files.source_id} {model.model} {wanted}",
            f"Labels of {files.name} by {model.model}",
            asked_by,
            lambda progress: self._label(files, model, wanted, progress),
        )

    def _label(
        self,
        files: FeatureFiles,
        model: HostedModel,
        wanted: Sequence[int] | None,
        progress: TaskProgress,
    ) -> TaskResult:
        progress.tell(0, 0, "reading runs")
        corpus = read_corpus(self._context.store, files.source_id, files.toy_seed)
        left = self._left(files, model, wanted, np.diff(corpus.fires.indptr))
        counts: Counter[str] = Counter()
        for number, feature in enumerate(left):
            progress.tell(number, len(left), f"{counts['labelled']:,} labelled")
            found = label_feature(model, corpus, feature, progress.is_cancelled)
            counts["input_tokens"] += found.input_tokens
            counts["output_tokens"] += found.output_tokens
            if found.outcome != "labelled" or found.score is None:
                counts[found.outcome] += 1
                continue
            counts["labelled" if found.score.auroc >= MIN_SCORE else "below"] += 1
            # one by one: each is paid for
            self._labels.insert_labels(
                files.source_id,
                [NewLabel(feature, found.text, found.score.auroc, found.evidence(model.model))],
                "model",
                model.model,
            )
        progress.tell(len(left), len(left), "")
        cost = estimate_cost(model.model, counts["input_tokens"], counts["output_tokens"])
        return {
            "n_labelled": counts["labelled"],
            "n_below": counts["below"],
            "n_few": counts["few"],
            "n_refused": counts["refused"],
            "n_nonsense": counts["nonsense"],
            "cost_usd": cost.usd,
            "is_toy": files.toy_seed is not None,
        }

    def _left(
        self,
        files: FeatureFiles,
        model: HostedModel,
        wanted: Sequence[int] | None,
        n_active: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    ) -> list[int]:
        done = self._labels.get_scores(files.source_id, "model", model.model)
        chosen = np.flatnonzero(n_active).tolist() if wanted is None else list(wanted)
        left = [item for item in chosen if item not in done and 0 <= item < files.d_sae]
        return left[:MOST_AT_ONCE]
