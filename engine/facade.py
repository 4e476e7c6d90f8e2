"""The engine: ask, follow, cancel; look after sources and their weights; and its labs.

Invariant: no tensor and no torch in any signature, and importing this module does not import torch;
a request whose run is stored is answered without ever loading it.
"""

from __future__ import annotations

import threading

from engine.asking import Asker
from engine.catalog import Catalog, PreparationNeeded, SourceInfo
from engine.confabulation_lab import ConfabulationLab
from engine.definitions import SourceDefinition
from engine.estimates import Estimator, refuse_what_does_not_fit
from engine.feature_lab import FeatureLab
from engine.hosted import HostedModel
from engine.jobs import EngineStatus, JobView, RunRequest
from engine.lab_context import LabContext
from engine.loaded_source import LoadedSource
from engine.memory import MemoryEstimate
from engine.preparation import Preparation
from engine.registry import SaeRelease, list_releases, resolve_location
from engine.settings import EngineSettings
from engine.steering_lab import SteeringLab
from engine.tasks import Tasks
from engine.transfers import TransferKind, Transfers, TransferView
from engine.weights.hub import hub_of
from engine.weights.inventory import source_weights
from engine.weights.parts import SourceWeights
from engine.worker import Chore, Worker
from store.runs import RunRepository


class Engine:
    """One model and SAE at a time, one worker thread, one queue, in front of the store.

    All methods may be called from any thread and return at once, `wait` and `close` excepted.
    """

    def __init__(self, runs: RunRepository, settings: EngineSettings) -> None:
        self._catalog = Catalog(settings)
        self._estimator = Estimator(self._catalog, settings.device)
        self._loaded = LoadedSource(self._catalog, self._estimator, settings.device)
        self._worker = Worker(runs, self._loaded, lambda flight: self._asker.land(flight))
        self._asker = Asker(self._catalog, runs, self._worker, self._loaded)
        self.tasks = Tasks()
        self._context = LabContext(self._asker, self._catalog, self.tasks, runs.store)
        self.features = FeatureLab(self._context, settings)
        self.steering = SteeringLab(self._context)
        self.confabulation = ConfabulationLab(self._context, HostedModel(settings))
        self.preparation = Preparation(
            self._context, self.features, self.steering, self.confabulation
        )
        self._settings = settings
        self._transfers_made: Transfers | None = None
        self._lock = threading.Lock()

    def submit(self, request: RunRequest) -> JobView:
        """Returns the stored run's job (state `done`, `memoized`), or queues its computation.

        Equal requests at one moment share one computation; each has a job of its own. Where the
        revision of a large local folder must first be computed, or an SAE be converted, that is
        queued too: the job's `run_key` is empty until then.

        Raises:
            RequestError: for a request that cannot be run as it is.
            WeightsMissingError: if files are missing; the hint says how to fetch them.
            EngineError: if the source cannot be resolved (unknown hook, ...).
            StoreError: if the store cannot be read.
        """
        return self._asker.submit(request)

    def job(self, job_id: str) -> JobView:
        """The job now.

        Raises:
            JobNotFoundError: if this server has no such job.
        """
        return self._asker.job(job_id)

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """Blocks until the job is no longer active, or timeout_s have passed; never on a page.

        Raises:
            JobNotFoundError: if this server has no such job.
        """
        return self._asker.wait(job_id, timeout_s)

    def cancel(self, job_id: str) -> JobView:
        """Lets go of the job; a computation stops at its next token once nobody waits for it.

        Raises:
            JobNotFoundError: if this server has no such job.
        """
        return self._asker.cancel(job_id)

    def status(self) -> EngineStatus:
        """What the engine is doing now."""
        return self._worker.status()

    def sources(self) -> tuple[SourceInfo, ...]:
        """The catalog, the default source first."""
        return self._catalog.sources()

    def sources_problem(self) -> str | None:
        """One sentence if the file of added sources cannot be used whole, else None."""
        return self._catalog.named.problem()

    def sae_releases(self, model: str = "") -> tuple[SaeRelease, ...]:
        """Published SAEs of sae-lens's registry that a source can name; the first call takes 1 s.

        Args:
            model: part of a model's name; empty for all.
        """
        return list_releases(model)

    def add_source(self, definition: SourceDefinition) -> SourceInfo:
        """Saves a source, or replaces one that was added, if all that can be checked is right.

        Raises:
            RequestError: if a value of it is not as it must be.
            EngineError: if files that are here cannot be used; nothing is saved then.
        """
        return self._catalog.add(definition)

    def remove_source(self, name: str) -> None:
        """Takes out a source that was added. Its files and its stored runs stay.

        Raises:
            RequestError: if there is none of this name, or it was not added.
            EngineError: if the file of added sources cannot be written.
        """
        self._catalog.named.remove(name)

    def weights(self, source: str) -> SourceWeights:
        """What is on this machine of a source; looks at files, reads none.

        Raises:
            UnknownSourceError: if there is none of this name.
            WeightsMissingError: if a cache is no folder.
        """
        definition = self._catalog.definition(source)
        finder = self._catalog.finder
        return source_weights(definition, finder.caches, finder.checksums)

    def start_transfer(self, kind: TransferKind, source: str, asked_by: str) -> TransferView:
        """Plans, downloads or verifies a source's files in the background.

        A source has one transfer at a time: who starts a second one of its kind joins the first.

        Raises:
            UnknownSourceError: if there is none of this name.
            RequestError: if another kind of transfer of the source is under way.
            WeightsMissingError: if a cache is no folder.
        """
        return self._transfers().start(kind, source, asked_by)

    def transfer(self, transfer_id: str) -> TransferView:
        """The transfer now.

        Raises:
            RequestError: if this server has no such transfer.
        """
        return self._transfers().transfer(transfer_id)

    def transfers(self) -> tuple[TransferView, ...]:
        """Transfers of this server, newest first, at most 50."""
        return self._transfers_made.transfers() if self._transfers_made else ()

    def cancel_transfer(self, transfer_id: str) -> TransferView:
        """Stops a transfer; finished files stay.

        Raises:
            RequestError: if this server has no such transfer.
        """
        return self._transfers().cancel(transfer_id)

    def estimate(self, source: str) -> MemoryEstimate:
        """What loading a source would take, against what the device has.

        Raises:
            UnknownSourceError: if there is none of this name.
            WeightsMissingError: if nothing says how large it is.
        """
        return self._estimator.estimate(source, self._loaded.used_bytes())

    def load(self, source: str) -> EngineStatus:
        """Queues the loading of a source, in place of the one that is loaded.

        Raises:
            WeightsMissingError: if files are missing; the hint says how to fetch them.
            DeviceError: if it would not fit; the hint says what would.
            EngineError: if the source cannot be resolved.
        """
        try:
            name = self._catalog.resolve(source, is_quick=True).spec.name
        except PreparationNeeded:
            name = source
        estimate = self.estimate(name)
        refuse_what_does_not_fit(name, estimate, estimate.required_bytes)
        self._worker.launch(
            Chore(name, lambda: self._loaded.load_by_name(name, self._worker.is_closing))
        )
        return self._worker.status()

    def unload(self) -> EngineStatus:
        """Queues the freeing of what is loaded, behind what runs."""
        self._worker.launch(Chore(None, self._loaded.free))
        return self._worker.status()

    def close(self) -> None:
        """Cancels what runs, waits for tasks and the worker to end. Idempotent."""
        self.tasks.close()
        if self._transfers_made is not None:
            self._transfers_made.close()
        self._worker.close()

    def _transfers(self) -> Transfers:
        """Made when first needed: a cache that is no folder is told then, not at the start."""
        finder = self._catalog.finder
        with self._lock:
            if self._transfers_made is None:
                self._transfers_made = Transfers(
                    finder.caches,
                    finder.checksums,
                    hub_of(self._settings),
                    self._catalog.definition,
                    resolve_location,
                    finish=self._catalog.finish_download,
                )
            return self._transfers_made
