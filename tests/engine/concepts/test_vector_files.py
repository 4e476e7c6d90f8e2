"""Files of vectors: written here and read by the libraries, made by others, broken, hostile."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from safetensors.numpy import load, save

from engine.concepts.vector_files import (
    MAX_FILE_BYTES,
    LayerVectors,
    VectorFileError,
    read_vectors,
    write_gguf,
    write_safetensors,
)
from engine.errors import RequestError

VECTORS = {
    1: np.arange(1, 7, dtype=np.float32),
    2: np.linspace(-1, 1, 6, dtype=np.float32),
    11: np.full(6, 0.5, np.float32),
}
CONTENT = LayerVectors("glad / so", VECTORS, "org/model", {"note": "made here"})


def _assert_same(left: object, right: dict[int, np.ndarray]) -> None:
    assert isinstance(left, dict)
    assert left.keys() == right.keys()
    for layer, values in right.items():
        assert left[layer].dtype == np.float32
        assert np.array_equal(left[layer], values)


def _write_like_llama_cpp(path: Path, arch: str = "controlvector", **tensors: np.ndarray) -> None:
    """As its cvector-generator does: tensors direction.1 to direction.(n_layer - 1)."""
    writer = GGUFWriter(path, arch)
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_int32("controlvector.layer_count", len(tensors))
    for name, values in tensors.items():
        writer.add_tensor(name.replace("_", "."), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_read_by_the_gguf_package(tmp_path: Path) -> None:
    file = write_gguf(CONTENT)
    path = tmp_path / file.name
    path.write_bytes(file.data)
    reader = GGUFReader(path)
    fields = {
        name: reader.get_field(name).contents()  # type: ignore[union-attr]
        for name in (
            "general.architecture",
            "controlvector.model_hint",
            "controlvector.layer_count",
        )
    }
    assert fields == {
        "general.architecture": "controlvector",
        "controlvector.model_hint": "org/model",
        "controlvector.layer_count": 3,
    }
    read = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    assert read.keys() == {"direction.1", "direction.2", "direction.11"}
    assert all(values.dtype == np.float32 for values in read.values())
    assert np.array_equal(read["direction.11"], VECTORS[11])


def test_both_formats_come_back_as_they_were() -> None:
    tensors, metadata = write_safetensors(CONTENT)
    assert np.array_equal(load(tensors.data)["layer.2"], VECTORS[2])
    back = read_vectors(tensors.data, "other.safetensors", metadata.data)
    _assert_same(dict(back.vectors), VECTORS)
    assert (back.name, back.model_hint, back.metadata["note"]) == (
        "glad / so",
        "org/model",
        "made here",
    )
    alone = read_vectors(tensors.data, "other.safetensors")
    assert alone.name == "glad / so"
    gguf = write_gguf(CONTENT)
    assert gguf.name == "glad-so.gguf"
    back = read_vectors(gguf.data, gguf.name)
    _assert_same(dict(back.vectors), VECTORS)
    assert back.model_hint == "org/model"


def test_a_file_as_llama_cpp_makes_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "happy.gguf"
    rows = {f"direction_{n}": np.full(8, n, np.float32) for n in (1, 2, 3)}
    _write_like_llama_cpp(path, "controlvector", **rows)
    read = read_vectors(path.read_bytes(), path.name)
    _assert_same(dict(read.vectors), {n: np.full(8, n, np.float32) for n in (1, 2, 3)})
    assert (read.name, read.model_hint) == ("happy", "llama")


def test_the_first_layer_is_left_out_of_gguf_and_refused_alone() -> None:
    both = LayerVectors("x", {0: np.ones(4, np.float32), 1: np.ones(4, np.float32)})
    assert list(read_vectors(write_gguf(both).data, "x").vectors) == [1]
    with pytest.raises(RequestError, match="first layer"):
        write_gguf(LayerVectors("x", {0: np.ones(4, np.float32)}))


@pytest.mark.parametrize(
    ("arch", "tensors", "message"),
    [
        ("llama", {"direction_1": np.ones(4, np.float32)}, "no control vector"),
        ("controlvector", {"direction_0": np.ones(4, np.float32)}, "names no layer"),
        ("controlvector", {"token_embd": np.ones(4, np.float32)}, "names no layer"),
        ("controlvector", {"direction_1": np.ones(4, np.float16)}, "not in float32"),
        ("controlvector", {"direction_1": np.ones((2, 4), np.float32)}, "no vector"),
        ("controlvector", {"direction_1": np.zeros(4, np.float32)}, "is zero"),
        ("controlvector", {"direction_1": np.full(4, np.nan, np.float32)}, "no numbers"),
        (
            "controlvector",
            {"direction_1": np.ones(4, np.float32), "direction_2": np.ones(5, np.float32)},
            "different widths",
        ),
    ],
)
def test_gguf_files_of_something_else_are_refused(
    tmp_path: Path, arch: str, tensors: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / "x.gguf"
    _write_like_llama_cpp(path, arch, **tensors)
    with pytest.raises(VectorFileError, match=message):
        read_vectors(path.read_bytes(), path.name)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": np.ones(4, np.float32)}, "names no layer"),
        ({"layer.1": np.ones(4, np.int64)}, "no floating numbers"),
        ({"layer.1": np.ones((2, 2), np.float32)}, "no vector"),
        ({"layer.1": np.array([np.inf, 1], np.float32)}, "no numbers"),
        ({"layer.1": np.ones(2, np.float32), "direction.1": np.ones(2, np.float32)}, "two vectors"),
        ({}, "no vectors"),
    ],
)
def test_safetensors_files_of_something_else_are_refused(
    tensors: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(VectorFileError, match=message):
        read_vectors(save(tensors), "x.safetensors")


@pytest.mark.parametrize("make", [write_gguf, lambda content: write_safetensors(content)[0]])
def test_a_file_that_is_cut_short_is_refused(make: Callable[[LayerVectors], object]) -> None:
    file = make(CONTENT)
    data = file.data  # type: ignore[attr-defined]
    # the last bytes of a GGUF file may be padding; within the numbers every cut is found
    for n_bytes in range(0, len(data) - 32, 3):
        with pytest.raises(VectorFileError):
            read_vectors(data[:n_bytes], "x")


def test_a_header_that_promises_more_than_there_is_is_refused_at_once() -> None:
    huge = 2**60
    header = struct.Struct("<4sIQQ")
    hostile = [
        header.pack(b"GGUF", 3, huge, 0),
        header.pack(b"GGUF", 3, 1, huge),
        header.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q", huge),
        header.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 0, huge),
        header.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 9, 1) * 50,
        header.pack(b"GGUF", 3, 1, 0) + struct.pack("<Q11sIQIQ", 11, b"direction.1", 1, huge, 0, 0),
        header.pack(b"GGUF", 3, 1, 0) + struct.pack("<Q11sIQIQ", 11, b"direction.1", 1, 4, 0, huge),
        header.pack(b"GGUF", 999, 0, 0),
        struct.pack("<Q", huge) + b"{}",
        b"",
        b"\x80\x05pickle",
    ]
    for data in hostile:
        with pytest.raises(VectorFileError):
            read_vectors(data, "x")


def test_no_change_of_bytes_gives_anything_but_vectors_or_a_refusal() -> None:
    rng = random.Random(3)
    files = [write_gguf(CONTENT).data, write_safetensors(CONTENT)[0].data]
    for _ in range(600):
        data = bytearray(rng.choice(files))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(min(len(data), 400))] = rng.randrange(256)
        with contextlib.suppress(VectorFileError):
            read = read_vectors(bytes(data), "x")
            assert all(np.isfinite(values).all() for values in read.vectors.values())


def test_a_file_that_is_too_large_is_not_read() -> None:
    with pytest.raises(VectorFileError, match="at most"):
        read_vectors(b"GGUF" + b"\0" * MAX_FILE_BYTES, "x.gguf")


def test_json_that_is_broken_is_named() -> None:
    tensors, _ = write_safetensors(CONTENT)
    with pytest.raises(VectorFileError, match="JSON"):
        read_vectors(tensors.data, "x.safetensors", b"{")
