"""The one source that is loaded: what it takes, how it comes and goes.

Invariant: at most one source is in memory, and an old one leaves before a new one comes; what does
not fit is refused before anything is loaded. Loading and freeing happen on the worker's thread.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.catalog import Catalog, ResolvedSource
from engine.device_memory import read_main_memory
from engine.errors import EngineError
from engine.estimates import Estimator, refuse_what_does_not_fit
from engine.memory import DeviceMemory
from store.specs import SourceSpec

if TYPE_CHECKING:
    from engine.resident import ResidentSource

SMALL_MODEL_BYTES = 64 * 2**20
"""Weights below which a forward pass is too short to be shared out among threads."""


@dataclass(frozen=True, slots=True)
class LoadedView:
    """What is in memory at one moment; all None before the first load and after the last."""

    source: str | None = None
    device: str | None = None
    memory: DeviceMemory | None = None
    loaded_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Content:
    resident: ResidentSource
    device: str
    used_bytes: int
    loaded_s: float


class LoadedSource:
    """Loads one source at a time on the device of the settings."""

    def __init__(self, catalog: Catalog, estimator: Estimator, device_setting: str) -> None:
        self._catalog = catalog
        self._estimator = estimator
        self._device_setting = device_setting
        self._content: _Content | None = None
        self._n_threads: int | None = None
        self._lock = threading.Lock()

    def view(self) -> LoadedView:
        """What is loaded, and the device's memory now; from any thread."""
        with self._lock:
            content = self._content
        if content is None:
            return LoadedView()
        return LoadedView(
            source=content.resident.source.spec.name,
            device=content.device,
            memory=_read_memory(content.device, content.used_bytes),
            loaded_s=content.loaded_s,
        )

    def used_bytes(self) -> int:
        """Memory that freeing what is loaded would give back; from any thread."""
        with self._lock:
            return self._content.used_bytes if self._content else 0

    def holds(self, spec: SourceSpec) -> bool:
        """Whether exactly this source is loaded."""
        return self._content is not None and self._content.resident.source.spec == spec

    def resident(self) -> ResidentSource:
        """What is loaded.

        Raises:
            EngineError: if nothing is.
        """
        if self._content is None:
            raise EngineError("No source is loaded.", "Ask again.")
        return self._content.resident

    def load(self, spec: SourceSpec) -> None:
        """Loads the source that a queued run was asked of.

        Raises:
            EngineError: if its files changed since, are missing or do not fit the device.
        """
        source = self._catalog.resolve(spec.name)
        if source.spec != spec:
            raise EngineError(
                f"The files of the source {spec.name!r} changed while it was queued.", "Ask again."
            )
        self._load(source)

    def load_by_name(self, name: str, is_cancelled: Callable[[], bool]) -> None:
        """Prepares a source as far as it needs it, and loads it.

        Raises:
            EngineError: if files are missing or cannot be used, or do not fit the device.
            GenerationCancelled: if `is_cancelled` said so before it was loaded.
        """
        source = self._catalog.prepare(name, is_cancelled)
        if not self.holds(source.spec):
            self._load(source)

    def free(self) -> None:
        """Gives the memory of what is loaded back."""
        with self._lock:
            was_loaded, self._content = self._content is not None, None
        if not was_loaded:
            return
        self.thaw()
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def thaw(self) -> None:
        """Has the garbage collector look at what was loaded again: it is about to go."""
        gc.unfreeze()

    def _load(self, source: ResolvedSource) -> None:
        # the old source goes first: two models at once may not fit
        self.free()
        name = source.spec.name
        estimate = self._estimator.estimate(name)
        # a short question needs little beside the weights: only these are certain to be too much
        weights = estimate.model_bytes + estimate.sae_bytes
        refuse_what_does_not_fit(name, estimate, weights)
        started = time.perf_counter()
        from engine.resident import load_source

        resident = load_source(source, self._device_setting)
        self._settle_threads(estimate.model_bytes)
        # what a loaded model brings would be walked by every later collection, on every page
        gc.collect()
        gc.freeze()
        device = _device_name(resident)
        used = _allocated_bytes(device) or weights
        content = _Content(resident, device, used, time.perf_counter() - started)
        with self._lock:
            self._content = content

    def _settle_threads(self, model_bytes: int) -> None:
        """Has a small model compute on one thread: several would mostly wait for each other.

        On a busy machine of two cores that is fourteen times as fast for the demo; on an idle one
        it is no slower. It holds for the thread that computes.
        """
        import torch

        if self._n_threads is None:
            self._n_threads = torch.get_num_threads()
        torch.set_num_threads(1 if model_bytes < SMALL_MODEL_BYTES else self._n_threads)


def _device_name(resident: ResidentSource) -> str:
    """The devices that hold the model, such as `cpu` or `cuda:0,cuda:1`."""
    parameters = resident.language.model.parameters()
    names = dict.fromkeys(str(parameter.device) for parameter in parameters)
    return ",".join(names) or str(resident.language.device)


def _allocated_bytes(device: str) -> int:
    """What torch holds on GPUs; 0 for any other device, where it does not count."""
    if not device.startswith("cuda"):
        return 0
    import torch

    return sum(torch.cuda.memory_allocated(name) for name in _gpus(device))


def _gpus(device: str) -> list[str]:
    return [name for name in device.split(",") if name.startswith("cuda")]


def _read_memory(device: str, used_bytes: int) -> DeviceMemory:
    if not device.startswith("cuda"):
        return replace(read_main_memory(device), used_bytes=used_bytes)
    import torch

    each = [torch.cuda.mem_get_info(name) for name in _gpus(device)]
    return DeviceMemory(
        device=device,
        total_bytes=sum(total for _, total in each),
        used_bytes=used_bytes,
        available_bytes=sum(free for free, _ in each),
    )
