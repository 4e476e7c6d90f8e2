"""How much memory the device has that a setting means, asked without torch.

Invariant: asking starts no context on a GPU and never fails; what cannot be found out is None.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from engine.memory import DeviceMemory

_ASK_GPUS = (
    "nvidia-smi",
    "--query-gpu=index,uuid,memory.total,memory.free",
    "--format=csv,noheader,nounits",
)
_TIMEOUT_S = 10
_MIB = 1 << 20
_CGROUP_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
_CGROUP_USES = ("memory.current", "memory/memory.usage_in_bytes")
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that this process may use; `index` counts those alone, as `cuda:N` does."""

    index: int
    total_bytes: int
    free_bytes: int


def read_device_memory(device_setting: str) -> DeviceMemory:
    """Memory of the device that `DEVICE` means; `auto` is the first GPU, or else the CPU.

    Args:
        device_setting: `auto`, `cpu`, `mps`, `cuda`, `cuda:1`, `balanced` or `cuda:0,cuda:1`.
    """
    if device_setting in ("cpu", "mps"):
        return read_main_memory(device_setting)
    gpus = list_gpus()
    if device_setting == "auto" and not gpus and not _has_silent_gpu():
        return read_main_memory("cpu")
    wanted = _wanted(device_setting, gpus)
    chosen = [gpu for gpu in gpus if gpu.index in wanted]
    name = ",".join(f"cuda:{index}" for index in wanted) or "cuda"
    if len(chosen) < len(wanted) or not chosen:
        return DeviceMemory(name, None, 0, None)
    return DeviceMemory(
        name, sum(gpu.total_bytes for gpu in chosen), 0, sum(gpu.free_bytes for gpu in chosen)
    )


def list_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves to this process, in its order."""
    try:
        answer = subprocess.run(
            _ASK_GPUS, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines()]
    known = {}
    for row in rows:
        with suppress(ValueError):
            index, uuid, total, free = row
            known[index] = known[uuid] = (int(total) * _MIB, int(free) * _MIB)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [row[0] for row in rows if row[0] in known] if visible is None else visible.split(",")
    chosen = []
    for name in names:
        memory = _find(name.strip(), known)
        # as CUDA does: what follows a name that is no device does not count either
        if memory is None:
            break
        chosen.append(memory)
    return tuple(Gpu(index, total, free) for index, (total, free) in enumerate(chosen))


def _has_silent_gpu() -> bool:
    """Whether there is a GPU that the driver's tool does not tell of: a slice of one, mostly."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _find(name: str, known: dict[str, tuple[int, int]]) -> tuple[int, int] | None:
    """A device by its index, or by its uuid, which may be cut short."""
    if not name.startswith(("GPU-", "MIG-")):
        return known.get(name)
    return next((memory for uuid, memory in known.items() if uuid.startswith(name)), None)


def _wanted(setting: str, gpus: tuple[Gpu, ...]) -> list[int]:
    if setting == "balanced":
        return [gpu.index for gpu in gpus]
    if setting in ("auto", "cuda"):
        return [0]
    numbers = [part.strip().removeprefix("cuda:") for part in setting.split(",")]
    return [int(number) for number in numbers if number.isdigit()]


def read_main_memory(device: str) -> DeviceMemory:
    """RAM, or the part of it that a container's limit leaves."""
    memory = psutil.virtual_memory()
    total, available = int(memory.total), int(memory.available)
    limit, used = _cgroup(_CGROUP_LIMITS), _cgroup(_CGROUP_USES)
    if limit is not None and limit < total:
        total = limit
        # the limit's own count includes the file cache, which gives way
        available = min(available, max(limit - (used or 0) + _cached(), 0), limit)
    return DeviceMemory(device, total, 0, available)


def _cgroup(names: tuple[str, ...]) -> int | None:
    for name in names:
        with suppress(OSError, ValueError):
            value = int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii"))
            return value if value < _UNLIMITED else None
    return None


def _cached() -> int:
    """Bytes of the container's file cache that can be dropped."""
    for name in ("memory.stat", "memory/memory.stat"):
        with suppress(OSError, ValueError):
            lines = Path("/sys/fs/cgroup", name).read_text(encoding="ascii").splitlines()
            pairs = dict(line.split() for line in lines)
            return int(pairs.get("inactive_file", pairs.get("total_inactive_file", 0)))
    return 0
