"""A request on its way to the memo: its source is resolved, at once or on the worker's thread.

Invariant: a caller never waits for gigabytes to be read, or for a model: where that comes first, it
gets a job whose run is not known yet, and that goes on by itself.
"""

from __future__ import annotations

from engine.catalog import Catalog, PreparationNeeded, ResolvedSource
from engine.errors import EngineError, GenerationCancelled, RequestError
from engine.exchanges import Exchanges
from engine.flights import Flight, Job
from engine.jobs import RunRequest, to_failure, to_unexpected_failure
from engine.loaded_source import LoadedSource
from engine.memo import NUMERICS_VERSION, Memo
from engine.steering_request import NormsNeeded, SteeringResolver
from engine.worker import Chore, Worker
from store.errors import StoreError
from store.keys import run_key
from store.specs import ModelSpec, RunSpec, SourceSpec, SteeringSpec


class Submitter:
    """Turns requests into jobs."""

    def __init__(
        self,
        catalog: Catalog,
        memo: Memo,
        worker: Worker,
        exchanges: Exchanges,
        loaded: LoadedSource,
        resolver: SteeringResolver,
    ) -> None:
        self._catalog = catalog
        self._memo = memo
        self._exchanges = exchanges
        self._worker = worker
        self._loaded = loaded
        self._resolver = resolver

    def submit(self, request: RunRequest, is_bulk: bool = False) -> Job:
        """A job on the request's run: done already, joined, new, or still to be found out.

        Args:
            request: what is asked.
            is_bulk: it is one of many, which may be stored together.

        Raises:
            RequestError: for a request that cannot be run as it is.
            EngineError: if the source cannot be resolved.
            StoreError: if the store cannot be read.
        """
        try:
            source = self._catalog.resolve(request.source, is_quick=True)
            return self._hand_on(request, source, is_bulk)
        except (PreparationNeeded, NormsNeeded):
            return self._submit_later(request)

    def _hand_on(self, request: RunRequest, source: ResolvedSource, is_bulk: bool = False) -> Job:
        spec = to_spec(request, source, self._resolver.resolve(source, request.steering))
        if spec.tools:
            return self._exchanges.begin(spec, source, request.created_by, is_bulk)
        key = run_key(spec, NUMERICS_VERSION)
        return self._memo.request(spec, key, request.created_by, is_bulk=is_bulk)

    def _submit_later(self, request: RunRequest) -> Job:
        """A job whose run is not known yet: the worker finds that out first."""
        name = self._catalog.definition(request.source).name
        spec = RunSpec(
            source=SourceSpec.without_sae(name, ModelSpec("", "", ""), 0),
            messages=request.messages,
            kind=request.kind,
            sampling=request.sampling,
        )
        waiting = Flight("", spec, request.created_by)
        waiting.join()
        job = Job(waiting, request.created_by)
        job.chore = Chore(
            name,
            lambda: self._prepare(request, name, job),
            is_load=False,
            drop=lambda: waiting.end("cancelled"),
        )
        self._worker.launch(job.chore)
        return job

    def _prepare(self, request: RunRequest, name: str, job: Job) -> None:
        """Resolves what was submitted, and hands it to the memo; on the worker's thread."""
        waiting = job.flight
        if waiting.is_stopping():
            waiting.end("cancelled")
            return
        waiting.begin("loading")

        def is_cancelled() -> bool:
            return waiting.is_stopping() or self._worker.is_closing()

        try:
            source = self._catalog.prepare(name, is_cancelled)
            try:
                ready = self._hand_on(request, source)
            except NormsNeeded:
                # once a source: every strength is held against the length of what it changes
                self._loaded.load_by_name(name, is_cancelled)
                is_toy = source.world_seed is not None
                self._resolver.measure(self._loaded.resident(), is_toy, is_cancelled)
                ready = self._hand_on(request, source)
        except GenerationCancelled:
            waiting.end("cancelled")
        except (EngineError, StoreError) as error:
            if self._worker.is_closing():
                # that there is no more queue is not the request's fault
                waiting.end("cancelled")
            else:
                waiting.end("failed", to_failure(error))
        except Exception as error:
            waiting.end("failed", to_unexpected_failure(error))
            raise
        else:
            job.become(ready)


def to_spec(request: RunRequest, source: ResolvedSource, steering: SteeringSpec) -> RunSpec:
    """The run that a request means, on a resolved source, with its steering resolved.

    Raises:
        RequestError: if it cannot be run as it is.
    """
    if request.tools and request.kind == "text":
        raise RequestError("A text is read without tools.", "Switch tools off.")
    if request.tools and not source.tools:
        raise RequestError(
            f"The source {source.spec.name!r} has no tools to offer.", "Switch tools off."
        )
    return RunSpec(
        source=source.spec,
        messages=request.messages,
        kind=request.kind,
        tools=source.tools if request.tools else (),
        sampling=request.sampling,
        steering=steering,
    )
