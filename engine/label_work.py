"""Automatic labels of a whole source, as a task that resumes where it stopped.

Invariant: labels are stored a batch at a time with the score that they have on held-out contexts;
a feature that this method has labelled is not labelled again unless that is asked for. What scores
below 0.7 is stored too, and shown nowhere: the feature stays unlabelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import EngineError, RequestError
from engine.feature_directions import compute_lens
from engine.feature_files import FeatureFiles, FeatureFilesFinder, open_model_ends
from engine.feature_maths.logit_lens import LogitLens
from engine.lab_context import LabContext
from engine.label_corpus import read_corpus, toy_classes
from engine.labelling.automatic import AUTHOR, AutomaticLabeller
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.feature_records import MIN_SCORE, NewLabel
from store.labels import LabelRepository

_AT_ONCE = 64
_QUICK_LENS_ELEMENTS = 16 * 1024 * 1024
"""Output layers up to this size are read for every feature: a few milliseconds each."""


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """How far the automatic labels of a source are.

    Attributes:
        n_features: that the source has.
        n_labelled: with a score of at least 0.7; n_below: with a lower one, left unlabelled.
    """

    n_features: int
    n_labelled: int
    n_below: int


class LabelWork:
    """Automatic labels of one engine."""

    def __init__(self, context: LabContext, files: FeatureFilesFinder) -> None:
        self._context = context
        self._files = files
        self._labels = LabelRepository(context.store)

    def plan(self, source: str) -> LabelPlan:
        """How far the labels of a source are.

        Raises:
            EngineError: if the source's files are not here.
            StoreError: if nothing of it is stored.
        """
        files = self._files.find(source)
        scores = self._labels.get_scores(files.source_id, "auto", AUTHOR)
        n_labelled = sum((score or 0.0) >= MIN_SCORE for score in scores.values())
        return LabelPlan(files.d_sae, n_labelled, len(scores) - n_labelled)

    def start(
        self,
        source: str,
        asked_by: str,
        features: Sequence[int] | None = None,
        is_redo: bool = False,
    ) -> TaskView:
        """Begins to label, or joins what is under way.

        Args:
            source: name or id.
            asked_by: who asks.
            features: only these; None is all.
            is_redo: also those that were labelled before.

        Raises:
            EngineError: if the source's files are not here.
        """
        files = self._files.find(source)
        if not files.d_sae:
            raise RequestError(
                f"The source {files.name!r} has no features.", "Choose a source with an SAE."
            )
        wanted = None if features is None else tuple(sorted(set(features)))
        outside = [item for item in wanted or () if not 0 <= item < files.d_sae]
        if outside:
            raise RequestError(
                f"The source {files.name!r} has no feature {outside[0]}.",
                f"Its features are 0 to {files.d_sae - 1}.",
            )
        key = f"{files.source_id} {'all' if wanted is None else wanted} {is_redo}"
        return self._context.tasks.start(
            "labels",
            key,
            f"Automatic labels of {files.name}",
            asked_by,
            lambda progress: self._label(files, wanted, is_redo, progress),
        )

    def _label(
        self,
        files: FeatureFiles,
        wanted: Sequence[int] | None,
        is_redo: bool,
        progress: TaskProgress,
    ) -> TaskResult:
        progress.tell(0, 0, "reading runs")
        corpus = read_corpus(self._context.store, files.source_id, files.toy_seed)
        labeller = AutomaticLabeller(corpus, toy_classes(files.toy_seed), _lens_finder(files))
        fired = np.flatnonzero(np.diff(corpus.fires.indptr)).tolist()
        chosen = fired if wanted is None else list(wanted)
        done_before: set[int] = set()
        if not is_redo:
            done_before = set(self._labels.get_scores(files.source_id, "auto", AUTHOR))
        left = [feature for feature in chosen if feature not in done_before]
        n_before = len(chosen) - len(left)
        counts: Counter[str] = Counter()
        batch: list[NewLabel] = []
        for number, feature in enumerate(left):
            progress.tell(n_before + number, len(chosen), f"{counts['labelled']:,} labelled")
            found = labeller.label(feature)
            if isinstance(found, str):
                counts[found] += 1
                continue
            counts["labelled" if found.score.auroc >= MIN_SCORE else "below"] += 1
            batch.append(NewLabel(feature, found.text, found.score.auroc, found.evidence()))
            if len(batch) >= _AT_ONCE:
                self._store(files, batch)
        self._store(files, batch)
        progress.tell(len(chosen), len(chosen), "")
        return {
            "n_labelled": counts["labelled"],
            "n_below": counts["below"],
            "n_no_rule": counts["no_rule"],
            "n_few": counts["few"],
            "n_before": n_before,
            "n_tokens": corpus.n_tokens,
            "is_toy": files.toy_seed is not None,
        }

    def _store(self, files: FeatureFiles, batch: list[NewLabel]) -> None:
        if batch:
            self._labels.insert_labels(files.source_id, batch, "auto", AUTHOR)
            batch.clear()


def _lens_finder(files: FeatureFiles) -> Callable[[int], LogitLens | None]:
    """The logit lens of a feature, where the output layer is small enough to read so often."""
    try:
        decoder = files.decoder()
        unembedding, _ = open_model_ends(files.resolved.model_dir, 0)
    except EngineError:
        return lambda _: None
    if unembedding.weight.size > _QUICK_LENS_ELEMENTS:
        return lambda _: None
    return lambda feature: compute_lens(files, decoder, feature)
