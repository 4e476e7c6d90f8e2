"""Comparisons of two cohorts of runs: chosen by filters, computed by a task, kept while it lasts.

Invariant: a comparison is of exactly the runs that its filters choose now; when runs come or go, it
is another one. Cohorts that are empty or overlap are refused before anything is computed.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from engine.cohorts.comparison import CohortEffects, compare_units
from engine.cohorts.units import make_units
from engine.errors import RequestError
from engine.feature_files import FeatureFilesFinder
from engine.lab_context import LabContext
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.cohorts import CohortRepository, RunMaxima
from store.keys import canonical_json
from store.labels import LabelRepository
from store.run_columns import RunColumnRepository
from store.run_sets import RunSetRepository

Positions = Literal["all", "generated", "prompt", "last_prompt"]
Groups = Literal["question", "run"]

MOST_PERMUTATIONS = 10_000
_KEPT = 64


class EmptyCohortError(RequestError):
    """No run passes the filter of a cohort."""


class CohortsOverlapError(RequestError):
    """Runs are in both cohorts."""


@dataclass(frozen=True, slots=True)
class CohortRequest:
    """Which runs are compared, and how.

    Attributes:
        source: name or id.
        where_a, where_b: filters of runs, or `sql:"SELECT run_key ..."`.
        positions: tokens whose largest value counts for a run.
        groups: what counts once: a `question` (that of its set, else the prompt), or each `run`.
        n_permutations, seed: of the null.
    """

    source: str
    where_a: str
    where_b: str
    positions: Positions = "generated"
    name_a: str = "A"
    name_b: str = "B"
    groups: Groups = "question"
    n_permutations: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class CohortComparison:
    """A comparison that was computed.

    Attributes:
        source_id: of the runs.
        n_runs_a, n_runs_b: runs that were read.
        censoring_note: one sentence where the source caps what is stored, else None.
        sampling_note: one sentence where not all runs were read, else None.
    """

    request: CohortRequest
    source_id: str
    n_runs_a: int
    n_runs_b: int
    effects: CohortEffects
    censoring_note: str | None
    sampling_note: str | None
    is_toy: bool
    computed_s: float


class CohortWork:
    """Comparisons of one engine."""

    def __init__(self, context: LabContext, files: FeatureFilesFinder) -> None:
        self._tasks = context.tasks
        self._files = files
        self._run_sets = RunSetRepository(context.store)
        self._cohorts = CohortRepository(context.store)
        self._columns = RunColumnRepository(context.store)
        self._labels = LabelRepository(context.store)
        self._known: OrderedDict[str, CohortComparison] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, request: CohortRequest, asked_by: str) -> TaskView:
        """Begins a comparison, or joins it.

        Raises:
            EmptyCohortError: if no run passes a filter.
            CohortsOverlapError: if runs pass both.
            RequestError: for a number of permutations that cannot be.
            StoreError: if a filter cannot be read.
        """
        if not 1 <= request.n_permutations <= MOST_PERMUTATIONS:
            raise RequestError(
                f"{request.n_permutations} permutations cannot be drawn.",
                f"Choose between 1 and {MOST_PERMUTATIONS:,}; 1,000 is usual.",
            )
        a, b = self._choose(request)
        key = _digest(request, a, b)
        title = f"{request.name_a} against {request.name_b}: {len(a):,} and {len(b):,} runs"
        return self._tasks.start(
            "compare", key, title, asked_by, lambda told: self._compare(request, a, b, key, told)
        )

    def find(self, request: CohortRequest) -> CohortComparison | None:
        """The comparison, if it was computed since runs last came or went.

        Raises:
            RequestError, StoreError: as `start` does.
        """
        key = _digest(request, *self._choose(request))
        with self._lock:
            found = self._known.get(key)
        if found is None:
            return None
        labels = self._labels.get_current_labels(
            found.source_id, [row.feature for row in found.effects.rows]
        )
        # labels change, effects do not
        rows = tuple(
            replace(row, label=labels[row.feature].text) if row.feature in labels else row
            for row in found.effects.rows
        )
        named = replace(request, source=found.request.source)
        return replace(found, request=named, effects=replace(found.effects, rows=rows))

    def _choose(self, request: CohortRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
        cohorts = []
        for name, where in ((request.name_a, request.where_a), (request.name_b, request.where_b)):
            keys = self._run_sets.list_run_keys(where, request.source)
            if not keys:
                raise EmptyCohortError(
                    f"The cohort {name[:40]} is empty: no run of {request.source[:80]!r} passes "
                    "its filter.",
                    "Choose another filter, or ask the model first.",
                )
            cohorts.append(keys)
        a, b = cohorts
        shared = set(a) & set(b)
        if shared:
            raise CohortsOverlapError(
                f"The cohorts share {len(shared):,} runs.",
                "Add NOT (...) to one of the filters, so that each run is in one cohort at most.",
            )
        return a, b

    def _compare(
        self,
        request: CohortRequest,
        a: tuple[str, ...],
        b: tuple[str, ...],
        key: str,
        progress: TaskProgress,
    ) -> TaskResult:
        started = time.monotonic()
        n_total = request.n_permutations
        progress.tell(0, n_total, "reading activations")
        # of runs that are too many, as many of either cohort are read as its share
        asked = _interleaved(a, b)
        maxima = self._cohorts.get_run_maxima(request.source, asked, request.positions)
        in_a = set(a)
        is_a = np.array([run_key in in_a for run_key in maxima.run_keys], bool)
        groups = self._group(request, maxima)
        units = make_units(maxima.run_index, maxima.feature, maxima.value, is_a, groups)
        progress.tell(0, n_total, f"{len(units.feature):,} features")
        effects = compare_units(
            units,
            n_total,
            request.seed,
            lambda n_done: progress.tell(n_done, n_total, "drawing labels by lot"),
        )
        found = CohortComparison(
            request=request,
            source_id=maxima.source_id,
            n_runs_a=int(is_a.sum()),
            n_runs_b=int((~is_a).sum()),
            effects=effects,
            censoring_note=_censoring(maxima),
            sampling_note=_sampling(maxima),
            is_toy=self._files.is_toy(request.source),
            computed_s=time.monotonic() - started,
        )
        with self._lock:
            self._known[key] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return {"n_tested": effects.n_tested, "n_significant": effects.n_significant}

    def _group(self, request: CohortRequest, maxima: RunMaxima) -> list[str]:
        """What counts once: the question of a set, else the prompt, else each run."""
        if request.groups == "run":
            return list(maxima.run_keys)
        facts = self._columns.list_facts(maxima.run_keys)
        prompts = {item.run_key: item.prompt for item in facts}
        return [
            f"group {group}" if group is not None else f"prompt {prompts[run_key]}"
            for run_key, group in zip(maxima.run_keys, maxima.groups, strict=True)
        ]


def _digest(request: CohortRequest, a: tuple[str, ...], b: tuple[str, ...]) -> str:
    content = canonical_json(
        [request.source, request.positions, request.groups, request.n_permutations, request.seed]
    )
    digest = hashlib.sha256(content.encode())
    for cohort in (a, b):
        digest.update("\n".join(("", *sorted(cohort))).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:24]


def _interleaved(a: tuple[str, ...], b: tuple[str, ...]) -> list[str]:
    """Both cohorts in one list, each spread evenly over it."""
    placed = [
        ((index + 0.5) / len(cohort), key) for cohort in (a, b) for index, key in enumerate(cohort)
    ]
    return [key for _, key in sorted(placed)]


def _censoring(maxima: RunMaxima) -> str | None:
    n_capped = int(maxima.n_capped.sum())
    if not n_capped:
        return None
    return (
        f"This source stores at most {maxima.max_active} activations a token, and {n_capped:,} of "
        f"{int(maxima.n_tokens.sum()):,} tokens fired more: there, a feature that is missing is "
        "censored, not silent."
    )


def _sampling(maxima: RunMaxima) -> str | None:
    if len(maxima.run_keys) == maxima.n_asked:
        return None
    return f"{len(maxima.run_keys):,} of {maxima.n_asked:,} runs were read: all do not fit at once."
