"""Checks a GGUF file against its own size before a library reads it.

The `gguf` package trusts the counts and lengths of a header: a file of a hundred bytes can have it
loop for hours. Here every one of them is held against the bytes that there are.

Invariant: a file that passes has a header, and tensors, that end inside of it.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

MAX_TENSORS = 4_096
MAX_FIELDS = 1_024
_MAX_STRING = 65_536
_MAX_ARRAY = 65_536
_VERSIONS = (2, 3)
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_F32 = 0
_ALIGNMENT_KEY = b"general.alignment"
_DEFAULT_ALIGNMENT = 32


def check_gguf(data: bytes, error: Callable[[str], Exception]) -> None:
    """Refuses what is cut short, or says more than there is.

    Args:
        data: the whole file.
        error: makes the exception that is raised, of one sentence.
    """
    try:
        _check(_Cursor(data))
    except (_BrokenError, struct.error) as fault:
        raise error(f"The GGUF file is broken: {fault}.") from fault


class _BrokenError(Exception):
    """Where the file is not as it must be."""


class _Cursor:
    """Reads numbers and strings one after the other, never beyond the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def skip(self, n_bytes: int) -> int:
        start = self.place
        if n_bytes > len(self.data) - start:
            raise _BrokenError("it ends too soon")
        self.place = start + n_bytes
        return start

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        (value,) = struct.unpack_from(form, self.data, self.skip(size))
        return int(value)

    def string(self) -> bytes:
        length = self.number("<Q")
        if length > _MAX_STRING:
            raise _BrokenError("a text in it is too long")
        start = self.skip(length)
        return self.data[start : self.place]


def _check(cursor: _Cursor) -> None:
    if cursor.data[cursor.skip(4) : 4] != b"GGUF":
        raise _BrokenError("it does not begin with GGUF")
    version = cursor.number("<I")
    if version not in _VERSIONS:
        raise _BrokenError(f"its version {version} is not known")
    n_tensors, n_fields = cursor.number("<Q"), cursor.number("<Q")
    if n_tensors > MAX_TENSORS or n_fields > MAX_FIELDS:
        raise _BrokenError("it says to hold more than a control vector does")
    alignment = _DEFAULT_ALIGNMENT
    for _ in range(n_fields):
        key = cursor.string()
        found = _check_value(cursor, cursor.number("<I"), is_inside=False)
        if key == _ALIGNMENT_KEY and found is not None:
            alignment = found
    if not 1 <= alignment <= _MAX_STRING or alignment & (alignment - 1):
        raise _BrokenError("its alignment is no power of two")
    ends = [_tensor_end(cursor) for _ in range(n_tensors)]
    data_start = -(-cursor.place // alignment) * alignment
    if ends and data_start + max(ends) > len(cursor.data):
        raise _BrokenError("its tensors are cut short")


def _check_value(cursor: _Cursor, kind: int, is_inside: bool) -> int | None:
    """Walks over a value; returns it where it is an unsigned whole number of four bytes."""
    if kind == _STRING:
        cursor.string()
        return None
    if kind in _SCALAR_BYTES:
        if kind == 4:
            return cursor.number("<I")
        cursor.skip(_SCALAR_BYTES[kind])
        return None
    if kind != _ARRAY or is_inside:
        raise _BrokenError("it has a value of an unknown kind")
    inner, length = cursor.number("<I"), cursor.number("<Q")
    if length > _MAX_ARRAY:
        raise _BrokenError("a list in it is too long")
    for _ in range(length):
        _check_value(cursor, inner, is_inside=True)
    return None


def _tensor_end(cursor: _Cursor) -> int:
    """Where the data of the next tensor end, counted from where all data begin."""
    cursor.string()
    n_dims = cursor.number("<I")
    if n_dims != 1:
        raise _BrokenError("a direction in it is no vector")
    length, kind, offset = cursor.number("<Q"), cursor.number("<I"), cursor.number("<Q")
    if kind != _F32:
        raise _BrokenError("a direction in it is not in float32")
    if length > len(cursor.data) or offset > len(cursor.data):
        raise _BrokenError("its tensors are cut short")
    return offset + 4 * length
