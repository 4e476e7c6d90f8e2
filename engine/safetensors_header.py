"""Names, types and shapes of the tensors in a safetensors file, read without its data or torch.

Invariant: a header that is returned describes a file that is as long as it says, so that a file
which a copy or a download cut short is found before anything is loaded.

Source: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import WeightsMissingError
from engine.file_names import shown_name

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Size of one number in each precision that a model can be run in."""
_FLOATING = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file.

    Attributes:
        dtype: as the format writes it, such as BF16.
        stored_bytes: its size in the file.
        first_byte: where it begins in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    stored_bytes: int
    first_byte: int

    @property
    def is_floating(self) -> bool:
        """Whether it is loaded in the precision that a model is run in."""
        return self.dtype in _FLOATING

    @property
    def dtype_name(self) -> str | None:
        """`float32`, `bfloat16` or `float16`; None for any other type."""
        return _NAMES.get(self.dtype)

    def loaded_bytes(self, dtype: str) -> int:
        """Its size in memory: floating numbers in `dtype`, others as they are stored."""
        return math.prod(self.shape) * DTYPE_BYTES[dtype] if self.is_floating else self.stored_bytes


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of a safetensors file, by name.

    Raises:
        WeightsMissingError: if it cannot be read, is no safetensors file, or is cut short.
    """
    try:
        with path.open("rb") as file:
            n_bytes = path.stat().st_size
            start = file.read(_LENGTH.size)
            (n_header,) = _LENGTH.unpack(start)
            if n_header > min(n_bytes, _LONGEST_HEADER):
                raise ValueError("the header is longer than the file")
            content = json.loads(file.read(n_header))
        entries = {
            name: TensorEntry(
                dtype=str(entry["dtype"]),
                shape=tuple(int(size) for size in entry["shape"]),
                stored_bytes=int(entry["data_offsets"][1]) - int(entry["data_offsets"][0]),
                first_byte=_LENGTH.size + n_header + int(entry["data_offsets"][0]),
            )
            for name, entry in content.items()
            if name != "__metadata__"
        }
        ends = [int(e["data_offsets"][1]) for n, e in content.items() if n != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise WeightsMissingError(
            f"The file {path.name} of {shown_name(path.parent)!r} is broken or incomplete.",
            "Download or copy it again.",
        ) from error
    n_needed = _LENGTH.size + n_header + max(ends, default=0)
    if n_bytes < n_needed:
        raise WeightsMissingError(
            f"The file {path.name} of {shown_name(path.parent)!r} is incomplete: it has "
            f"{n_bytes:,} of {n_needed:,} bytes.",
            "Download or copy it again.",
        )
    return entries
