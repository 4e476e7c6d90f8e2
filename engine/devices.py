"""What the setting DEVICE means on this machine: one device, or several that share a model.

Invariant: a placement names devices that exist; nothing is ever put on a disk or left to a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from engine.errors import DeviceError

_HINT = "Set DEVICE to auto, cpu, cuda, cuda:N, several as cuda:0,cuda:1, or balanced."
_RESERVE = 0.1
"""Part of each device's free memory that gets no weights: keys, values and logits go there."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model goes.

    Attributes:
        devices: in the order in which the model's layers run through them, one or more.
    """

    devices: tuple[torch.device, ...]

    @property
    def first(self) -> torch.device:
        """Where token ids go."""
        return self.devices[0]

    @property
    def last(self) -> torch.device:
        """Where logits come from, and where the SAE is put."""
        return self.devices[-1]

    def __str__(self) -> str:
        return ",".join(str(device) for device in self.devices)

    def device_map(self) -> str | dict[str, torch.device]:
        """What `from_pretrained` takes as `device_map`."""
        return "balanced" if len(self.devices) > 1 else {"": self.first}

    def max_memory(self, sae_bytes: int) -> Mapping[int | str, int] | None:
        """Bytes of weights that each device may get; None where one device takes all.

        Args:
            sae_bytes: kept free on the last device, for the SAE.
        """
        if len(self.devices) == 1:
            return None
        limits: dict[int | str, int] = {"cpu": 0}
        for device in self.devices:
            free, _ = torch.cuda.mem_get_info(device)
            kept = sae_bytes if device == self.last else 0
            limits[device.index] = max(0, int(free * (1 - _RESERVE)) - kept)
        return limits


def choose_placement(wanted: str) -> Placement:
    """The devices that a setting means.

    Args:
        wanted: `auto` (the first GPU, or else the CPU), a device, several GPUs with commas between
            them, or `balanced` (all GPUs).

    Raises:
        DeviceError: if there is no such device on this machine.
    """
    if wanted == "balanced":
        n_devices = torch.cuda.device_count()
        if not n_devices:
            raise DeviceError("DEVICE is balanced, but this machine has no GPU.", _HINT)
        return Placement(tuple(torch.device("cuda", index) for index in range(n_devices)))
    names = [name.strip() for name in wanted.split(",")]
    devices = tuple(_choose(name) for name in names)
    if len(devices) > 1 and (
        len(set(devices)) < len(devices) or {device.type for device in devices} != {"cuda"}
    ):
        raise DeviceError(f"{wanted!r} does not name several GPUs, each once.", _HINT)
    return Placement(tuple(sorted(devices, key=lambda device: device.index or 0)))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had too little memory; on some the library says so in words alone."""
    said = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in said
        or "can't allocate memory" in said
    )


def _choose(wanted: str) -> torch.device:
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(
            f"The device {wanted!r} cannot be used on this machine.", _HINT
        ) from error
    if device.type == "meta":
        raise DeviceError("The device 'meta' computes nothing.", _HINT)
    return torch.device("cuda", 0) if str(device) == "cuda" else device
