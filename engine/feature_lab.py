"""What the engine says of features: directions, map, what they fire on, labels, cohorts, two runs.

Invariant: a handle only: each kind of work is a module of its own. No tensor in any signature, and
nothing here loads a model; long work is a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.cohort_work import CohortComparison, CohortRequest, CohortWork
from engine.feature_directions import DirectionReader, FeatureDirections, check_feature
from engine.feature_files import FeatureFilesFinder
from engine.feature_map_work import FeatureMapWork
from engine.feature_maths.feature_map import FeatureMap
from engine.feature_notes import FeatureNotes
from engine.fires_on import FiresOn, FiresOnReader
from engine.hosted_label_work import HostedLabelWork, HostedOffer
from engine.jobs import JobView, RunRequest
from engine.lab_context import LabContext
from engine.label_work import LabelPlan, LabelWork
from engine.run_comparison import RunComparison, align, find_parting, rank_differences
from engine.settings import EngineSettings
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.activations import ActivationRepository
from store.labels import LabelRepository
from store.runs import RunRepository
from store.specs import Message


class FeatureLab:
    """Features of one engine. All methods may be called from any thread.

    A source is given by its name in the catalog or by the id of what is stored; where files of it
    are needed they must be those that the stored runs were computed with.
    """

    def __init__(self, context: LabContext, settings: EngineSettings) -> None:
        self._context = context
        self._files = FeatureFilesFinder(context.catalog)
        self._directions = DirectionReader(self._notes)
        self._maps = FeatureMapWork(context, self._files)
        self._fires_on = FiresOnReader(context.store, self._files)
        self._label_work = LabelWork(context, self._files)
        self._hosted = HostedLabelWork(context, self._files, settings)
        self._cohorts = CohortWork(context, self._files)
        self._runs = RunRepository(context.store)
        self._activations = ActivationRepository(context.store)
        self._labels = LabelRepository(context.store)

    # ------------------------------------------------------------------------------ directions

    def find_directions(self, source: str, feature: int) -> FeatureDirections | None:
        """What a feature boosts and which features point its way; no model is loaded.

        Returns:
            None where the files are so large that `start_directions` has to read them first.

        Raises:
            RequestError: if there is no such source or feature.
            EngineError: if the files are not here, or are not those of the stored runs.
        """
        return self._directions.find(self._files.find(source), feature)

    def start_directions(self, source: str, feature: int, asked_by: str) -> TaskView:
        """Begins to read the directions of a feature of a large source, or joins that.

        Raises:
            EngineError: as `find_directions` does.
        """
        files = self._files.find(source)
        check_feature(files, feature)

        def read(progress: TaskProgress) -> TaskResult:
            progress.tell(0, 0, "reading decoder and output layer")
            self._directions.compute(files, feature, progress.check)
            return {"feature": feature}

        title = f"Directions of feature {feature} of {files.name}"
        return self._context.tasks.start(
            "directions", f"{files.source_id} {feature}", title, asked_by, read
        )

    def find_map(self, source: str) -> FeatureMap | None:
        """The features of a source in two dimensions, if `start_map` has made that.

        Raises:
            EngineError: if the source's files are not here.
        """
        return self._maps.find(source)

    def start_map(self, source: str, asked_by: str) -> TaskView:
        """Begins to make the map of a source, or joins that.

        Raises:
            EngineError: if the source's files are not here.
        """
        return self._maps.start(source, asked_by)

    # ------------------------------------------------------------------------------ fires on

    def fires_on(self, source: str, feature: int) -> FiresOn:
        """Tokens, sequences and circumstances that go with a feature, with n.

        Raises:
            StoreError: if nothing of the source is stored, or it has no such feature.
        """
        return self._fires_on.read(source, feature)

    def submit_text(self, source: str, text: str, asked_by: str) -> JobView:
        """Reads a text through the memo; follow the job, its run then has all features.

        Raises:
            RequestError: for a text that cannot be read.
            EngineError: if the source cannot be resolved.
        """
        request = RunRequest(
            messages=(Message("user", text),), source=source, kind="text", created_by=asked_by
        )
        return self._context.asker.submit(request)

    def feature_values(self, run_key: str, feature: int) -> tuple[float, ...]:
        """The values of a feature on each token of a run; 0 where it is silent.

        Raises:
            StoreError: if the run is not stored.
        """
        run = self._runs.get_run(run_key)
        active = self._activations.get_run_activations(run_key)
        values = np.zeros(len(run.tokens))
        inside = active.feature == feature
        values[active.position[inside]] = active.value[inside]
        return tuple(values.tolist())

    # ------------------------------------------------------------------------------ labels

    def label_plan(self, source: str) -> LabelPlan:
        """How far the automatic labels of a source are.

        Raises:
            EngineError: if the source's files are not here.
            StoreError: if nothing of it is stored.
        """
        return self._label_work.plan(source)

    def start_labels(
        self,
        source: str,
        asked_by: str,
        features: Sequence[int] | None = None,
        is_redo: bool = False,
    ) -> TaskView:
        """Begins to label features by rules, without any API, or joins that; resumes.

        Args:
            source: name or id.
            asked_by: who asks.
            features: only these; None is all that have fired.
            is_redo: also those that were labelled before.

        Raises:
            EngineError: if the source's files are not here, or it has no such features.
        """
        return self._label_work.start(source, asked_by, features, is_redo)

    def hosted_offer(self, source: str, features: Sequence[int] | None = None) -> HostedOffer:
        """What labels by a hosted model would need and cost; sends nothing.

        Raises:
            EngineError: if the source's files are not here.
            StoreError: if nothing of it is stored.
        """
        return self._hosted.offer(source, features)

    def start_hosted_labels(
        self, source: str, asked_by: str, features: Sequence[int] | None = None
    ) -> TaskView:
        """Begins to have features labelled by a hosted model, which costs; or joins that.

        Raises:
            HostedKeyError: if there is no key.
            RequestError: for features that the source does not have, or too many.
        """
        return self._hosted.start(source, asked_by, features)

    # ------------------------------------------------------------------------------ comparing

    def start_comparison(self, request: CohortRequest, asked_by: str) -> TaskView:
        """Begins to compare two cohorts of runs, or joins that.

        Raises:
            RequestError: if a cohort is empty, or they overlap.
            StoreError: if a filter cannot be read.
        """
        return self._cohorts.start(request, asked_by)

    def find_comparison(self, request: CohortRequest) -> CohortComparison | None:
        """The comparison, if it was computed since runs of its cohorts last came or went.

        Raises:
            RequestError, StoreError: as `start_comparison` does.
        """
        return self._cohorts.find(request)

    def compare_runs(self, run_key_a: str, run_key_b: str, limit: int = 50) -> RunComparison:
        """Two runs side by side.

        Raises:
            StoreError: if one of them is not stored.
        """
        a, b = self._runs.get_run(run_key_a), self._runs.get_run(run_key_b)
        blocks = align(
            [token.token_id for token in a.tokens], [token.token_id for token in b.tokens]
        )
        if a.run.source_id != b.run.source_id:
            note = "The runs are of two sources: their features are not the same ones."
            parts_at = find_parting(blocks)
            return RunComparison(run_key_a, run_key_b, blocks, parts_at, (), 0, note)
        features, n_features = rank_differences(
            self._activations.get_run_activations(run_key_a),
            self._activations.get_run_activations(run_key_b),
            limit,
        )
        numbers = [item.feature for item in features]
        labels = self._labels.get_current_labels(a.run.source_id, numbers)
        named = tuple(
            replace(item, label=labels[item.feature].text) if item.feature in labels else item
            for item in features
        )
        return RunComparison(run_key_a, run_key_b, blocks, find_parting(blocks), named, n_features)

    def _notes(self) -> FeatureNotes:
        return FeatureNotes(self._context.catalog.finder.caches.records)
