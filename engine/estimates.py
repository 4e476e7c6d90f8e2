"""Whether a source would fit on the device, and what would help if it does not.

Invariant: nothing is loaded and no weights are read beyond their headers; no torch. Nothing is
replaced by something smaller: what would fit is named, and a person decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engine.catalog import Catalog
from engine.definitions import SourceDefinition
from engine.device_memory import list_gpus, read_device_memory
from engine.errors import DeviceError, EngineError, WeightsMissingError
from engine.memory import (
    DeviceMemory,
    MemoryEstimate,
    Shape,
    guess_shape,
    in_gigabytes,
    read_shape,
    working_bytes,
)
from engine.model_config import weight_bytes
from engine.sae_layouts import sae_weight_bytes
from engine.source_folders import SourceFolders

_GUESSED_LAYERS = 40
_GUESSED_WIDTH = 5120


class Estimator:
    """Estimates for the sources of a catalog on one device."""

    def __init__(self, catalog: Catalog, device_setting: str) -> None:
        self._catalog = catalog
        self._device_setting = device_setting

    def estimate(self, name: str | None, given_back_bytes: int = 0) -> MemoryEstimate:
        """What loading a source would take, with advice if that does not fit.

        Args:
            name: a source's name; None is the default one.
            given_back_bytes: that the source which is loaded now occupies on the device.

        Raises:
            UnknownSourceError: if there is none of this name.
            WeightsMissingError: if nothing says how large it is.
        """
        definition = self._catalog.definition(name)
        device = read_device_memory(self._device_setting)
        if device.available_bytes is not None:
            device = replace(device, available_bytes=device.available_bytes + given_back_bytes)
        dtype = self._catalog.wanted_dtype(definition)
        estimate = self._estimate(definition, dtype, device)
        if estimate.fits is not False:
            return estimate
        return replace(estimate, advice=tuple(self._advise(definition, estimate, device)))

    def weight_bytes(self, folders: SourceFolders, dtype: str) -> tuple[int, int]:
        """Bytes of model and SAE in memory, by the headers of their files.

        Args:
            dtype: `float32`, `bfloat16`, `float16`, or `auto`: what the files are stored in.

        Raises:
            WeightsMissingError: if a file is missing or broken.
        """
        dtype = folders.model_config.dtype if dtype == "auto" else dtype
        sae = folders.sae
        return (
            weight_bytes(folders.model.folder, dtype),
            sae_weight_bytes(sae.located.folder, dtype, with_decoder=False) if sae else 0,
        )

    def _estimate(
        self, definition: SourceDefinition, dtype: str, device: DeviceMemory
    ) -> MemoryEstimate:
        try:
            folders = self._catalog.finder.find(definition)
        except EngineError:
            model_bytes, sae_bytes, shape, dtype = _claimed(definition, dtype)
        else:
            model_bytes, sae_bytes = self.weight_bytes(folders, dtype)
            dtype = folders.model_config.dtype if dtype == "auto" else dtype
            config = folders.sae.config if folders.sae else None
            d_sae = config.d_sae if config else 0
            shape = read_shape(folders.model.folder, d_sae) or guess_shape(
                folders.model_config.n_layers, folders.model_config.d_model, d_sae
            )
        return MemoryEstimate(
            model_bytes=model_bytes,
            sae_bytes=sae_bytes,
            working_bytes=working_bytes(shape, model_bytes + sae_bytes, dtype),
            dtype=dtype,
            device=device.device,
            total_bytes=device.total_bytes,
            available_bytes=device.available_bytes,
        )

    def _advise(
        self, definition: SourceDefinition, estimate: MemoryEstimate, device: DeviceMemory
    ) -> Iterator[str]:
        """Sentences that each name something that would fit; at most one of each kind."""
        if estimate.dtype == "float32":
            smaller = self._estimate(definition, "bfloat16", device)
            if smaller.fits:
                yield (
                    f"With MODEL_DTYPE=bfloat16 it needs {in_gigabytes(smaller.required_bytes)} "
                    "and would fit."
                )
        if device.device.startswith("cuda"):
            gpus = list_gpus()
            free = sum(gpu.free_bytes for gpu in gpus)
            if "," not in device.device and len(gpus) > 1 and free >= estimate.required_bytes:
                yield (
                    f"With DEVICE=balanced it would fit on {len(gpus)} GPUs, which have "
                    f"{in_gigabytes(free)} free together."
                )
            main = read_device_memory("cpu")
            if (main.available_bytes or 0) >= estimate.required_bytes:
                yield (
                    f"With DEVICE=cpu it would fit, but run far slower: "
                    f"{in_gigabytes(main.available_bytes or 0)} of main memory are free."
                )
        if other := self._largest_that_fits(definition, device):
            name, needed = other
            yield f"The source {name} needs {in_gigabytes(needed)} and would fit."

    def _largest_that_fits(
        self, definition: SourceDefinition, device: DeviceMemory
    ) -> tuple[str, int] | None:
        fitting = []
        for other in self._catalog.named.definitions().values():
            if other.name == definition.name:
                continue
            try:
                estimate = self._estimate(other, self._catalog.wanted_dtype(other), device)
            except EngineError:
                continue
            if estimate.fits:
                fitting.append((estimate.required_bytes, other.name))
        if not fitting:
            return None
        needed, name = max(fitting)
        return name, needed


def refuse_what_does_not_fit(name: str, estimate: MemoryEstimate, needed_bytes: int) -> None:
    """Refuses a source for which the device has less than `needed_bytes` free.

    Raises:
        DeviceError: that says what is needed, what there is, and what would fit.
    """
    available = estimate.available_bytes
    if available is None or needed_bytes <= available:
        return
    total = "" if estimate.total_bytes is None else f" of {in_gigabytes(estimate.total_bytes)}"
    raise DeviceError(
        f"The source {name!r} needs {in_gigabytes(needed_bytes)} in {estimate.dtype}, but "
        f"{estimate.device} has {in_gigabytes(available)}{total} free.",
        " ".join(estimate.advice) or "End what else uses the device, or use a smaller source.",
    )


def _claimed(definition: SourceDefinition, dtype: str) -> tuple[int, int, Shape, str]:
    """Sizes by the catalog's claims: of files that are taken to be bfloat16, as most are."""
    claims = definition.claims
    if claims.model_bytes is None:
        raise WeightsMissingError(
            f"It is not known how much memory {definition.name!r} needs: its files are not here.",
            "Look at the plan of its download, or download it first.",
        )
    factor = 2 if dtype == "float32" else 1
    shape = guess_shape(
        claims.n_layers or _GUESSED_LAYERS,
        claims.d_model or _GUESSED_WIDTH,
        claims.d_sae or 0,
        claims.kv_width,
        claims.n_context,
    )
    return (
        claims.model_bytes * factor,
        (claims.sae_bytes or 0) * factor,
        shape,
        "bfloat16" if dtype == "auto" else dtype,
    )
