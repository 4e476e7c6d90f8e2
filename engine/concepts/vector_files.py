"""Vectors as files: safetensors with JSON beside it, and GGUF control vectors, written and read.

Invariant: what is read is checked against the sizes that the file itself has before any library
reads it; only float tensors of one width with finite values come out; nothing is unpickled.

In a GGUF control vector, `direction.N` is added to the output of decoder layer N counted from 0,
which is how llama.cpp applies it; it refuses N = 0, so that a vector of the first layer cannot be
written. (llama.cpp's own generator names what it measured after layer N `direction.N+1`: its files
are taken as they would be applied.)
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.concepts.gguf_header import check_gguf
from engine.errors import RequestError, WeightsMissingError
from engine.safetensors_header import read_header

FileFormat = Literal["safetensors", "gguf"]
Values = npt.NDArray[np.float32]

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_METADATA_BYTES = 1024 * 1024
ARCHITECTURE = "controlvector"
_TENSOR = re.compile(r"(?:direction|layer)\.(\d{1,4})")
_FLOATS = {"F32", "F16", "BF16", "F64"}
_FORMAT_KEY = "featurebook"


class VectorFileError(RequestError):
    """A file that no vectors can be read from."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(
            message,
            hint or "Use a safetensors file or a GGUF control vector, whole as it was made.",
        )


@dataclass(frozen=True, slots=True)
class LayerVectors:
    """Vectors of one concept, one a layer.

    Attributes:
        vectors: by decoder layer, from 0: [d_model] float32, finite, all of one width.
        model_hint: what the file says of the model: a name or an architecture; empty if nothing.
        metadata: plain values that travel in the JSON; empty for files of others.
    """

    name: str
    vectors: Mapping[int, Values]
    model_hint: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def d_model(self) -> int:
        """Width of the vectors."""
        return len(next(iter(self.vectors.values())))


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file to be saved by whoever asked for it."""

    name: str
    data: bytes


def write_safetensors(content: LayerVectors) -> tuple[ExportedFile, ExportedFile]:
    """The tensors `layer.N`, and the JSON that says what they are."""
    from safetensors.numpy import save

    metadata = {
        "format": _FORMAT_KEY,
        "name": content.name,
        "model": content.model_hint,
        "d_model": content.d_model,
        "layers": sorted(content.vectors),
        **content.metadata,
    }
    text = json.dumps(metadata, ensure_ascii=False, indent=2, sort_keys=True)
    tensors = {f"layer.{n}": np.ascontiguousarray(v) for n, v in sorted(content.vectors.items())}
    stem = _file_stem(content.name)
    return (
        ExportedFile(f"{stem}.safetensors", save(tensors, {_FORMAT_KEY: text})),
        ExportedFile(f"{stem}.json", text.encode()),
    )


def write_gguf(content: LayerVectors) -> ExportedFile:
    """A control vector as llama.cpp reads it.

    Raises:
        RequestError: if nothing but the first layer is to be written.
    """
    from gguf import GGUFWriter

    layers = {layer: values for layer, values in content.vectors.items() if layer > 0}
    if not layers:
        raise RequestError(
            "A GGUF control vector cannot steer the first layer.",
            "Export the vector as safetensors, or choose one of a later layer.",
        )
    with tempfile.TemporaryDirectory(prefix="featurebook-") as folder:
        path = Path(folder) / "vectors.gguf"
        writer = GGUFWriter(path, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", content.model_hint)
        writer.add_int32(f"{ARCHITECTURE}.layer_count", len(layers))
        for layer, values in sorted(layers.items()):
            writer.add_tensor(f"direction.{layer}", np.ascontiguousarray(values, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return ExportedFile(f"{_file_stem(content.name)}.gguf", path.read_bytes())


def read_vectors(data: bytes, file_name: str, metadata: bytes | None = None) -> LayerVectors:
    """The vectors of a file, whatever it calls itself.

    Args:
        data: the file's bytes.
        file_name: names the vectors where the file does not.
        metadata: the JSON that came beside a safetensors file.

    Raises:
        VectorFileError: if it is too large, broken, or holds no vectors.
    """
    if len(data) > MAX_FILE_BYTES:
        raise VectorFileError(
            f"The file has {len(data):,} bytes; at most {MAX_FILE_BYTES:,} are read.",
            "Export fewer layers.",
        )
    stem = Path(file_name.replace("\\", "/")).stem[:80] or "imported"
    with tempfile.TemporaryDirectory(prefix="featurebook-") as folder:
        path = Path(folder) / "vectors"
        path.write_bytes(data)
        if data[:4] == b"GGUF":
            return _read_gguf(path, stem)
        return _read_safetensors(path, stem, metadata)


def _read_gguf(path: Path, stem: str) -> LayerVectors:
    check_gguf(path.read_bytes(), VectorFileError)
    from gguf import GGMLQuantizationType, GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = reader.get_field("general.architecture")
        kind = architecture.contents() if architecture else None
        hint = reader.get_field(f"{ARCHITECTURE}.model_hint")
        model_hint = str(hint.contents())[:200] if hint else ""
        tensors = {
            tensor.name: np.array(tensor.data, np.float32)
            for tensor in reader.tensors
            if tensor.tensor_type == GGMLQuantizationType.F32
        }
        n_tensors = len(reader.tensors)
    except (ValueError, KeyError, IndexError, TypeError, OSError, OverflowError) as error:
        raise VectorFileError("The GGUF file is broken.") from error
    if kind != ARCHITECTURE:
        raise VectorFileError(
            f"The GGUF file holds no control vector: its architecture is {str(kind)[:40]!r}."
        )
    if len(tensors) != n_tensors:
        raise VectorFileError("The directions of the GGUF file are not all float32.")
    return LayerVectors(stem, _by_layer(tensors, first=1), model_hint)


def _read_safetensors(path: Path, stem: str, metadata: bytes | None) -> LayerVectors:
    from safetensors import SafetensorError, safe_open

    try:
        entries = read_header(path)
        if any(entry.dtype not in _FLOATS for entry in entries.values()):
            raise VectorFileError("The tensors of the file are no floating numbers.")
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name).float().numpy() for name in entries}
            inside = (file.metadata() or {}).get(_FORMAT_KEY, "{}")
    except WeightsMissingError as error:
        raise VectorFileError(
            "The file is neither safetensors nor GGUF, or it is cut short."
        ) from error
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise VectorFileError("The safetensors file is broken.") from error
    said = _metadata(metadata if metadata is not None else inside.encode())
    name = said.get("name")
    hint = said.get("model")
    return LayerVectors(
        name=name[:80] if isinstance(name, str) and name else stem,
        vectors=_by_layer(tensors, first=0),
        model_hint=hint[:200] if isinstance(hint, str) else "",
        metadata=said,
    )


def _metadata(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_METADATA_BYTES:
        raise VectorFileError("The JSON beside the vectors is too large.", "Leave it out.")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise VectorFileError("The JSON beside the vectors is broken.", "Leave it out.") from error
    return content if isinstance(content, dict) else {}


def _by_layer(tensors: Mapping[str, Values], first: int) -> dict[int, Values]:
    vectors: dict[int, Values] = {}
    for name, values in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None or int(match[1]) < first:
            raise VectorFileError(f"The tensor {name[:60]!r} names no layer that can be steered.")
        if values.ndim != 1 or not values.size:
            raise VectorFileError(f"The tensor {name[:60]!r} is no vector.")
        if not np.isfinite(values).all() or not np.abs(values).max():
            raise VectorFileError(
                f"The tensor {name[:60]!r} is zero, or holds values that are no numbers."
            )
        if int(match[1]) in vectors:
            raise VectorFileError(f"The file has two vectors of layer {match[1]}.")
        vectors[int(match[1])] = values
    if not vectors:
        raise VectorFileError("The file holds no vectors.")
    if len({values.shape for values in vectors.values()}) != 1:
        raise VectorFileError("The vectors of the file have different widths.")
    return vectors


def _file_stem(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "vector"
