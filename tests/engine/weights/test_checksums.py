"""Checksums: read once, ever; a note that is broken or stale is as good as none."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.demo import MODEL_DIR, SAE_DIR
from engine.errors import TransferCancelled, WeightsMissingError
from engine.weights.checksums import (
    ChecksumStore,
    folder_key,
    read_stamps,
    repository_key,
)
from engine.weights.fingerprint import FingerprintCache
from tests.engine.weights.conftest import write_files

LARGE = bytes(range(256)) * 8192
KEY = repository_key("org/model", "c" * 40)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes ü"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.safetensors"
    path.write_bytes(LARGE)
    return path


def _unreadable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if a file is opened from now on."""
    opens = Path.open

    def refuse(self: Path, *arguments: object, **options: object) -> object:
        assert self != path, f"{path} was read again"
        call: Callable[..., object] = opens
        return call(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)


def test_a_file_is_read_once_also_by_the_next_process(
    notes: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = hashlib.sha256(LARGE).hexdigest()
    assert ChecksumStore(notes).find_sha256(large) is None
    assert ChecksumStore(notes).sha256_of(large) == expected
    _unreadable(large, monkeypatch)
    progress: list[int] = []
    assert ChecksumStore(notes).sha256_of(large, progress.append) == expected
    assert sum(progress) == len(LARGE)
    assert ChecksumStore(notes).find_sha256(large) == expected


@pytest.mark.parametrize("change", ["content", "time", "inode"])
def test_a_changed_file_is_read_again(notes: Path, large: Path, change: str) -> None:
    store = ChecksumStore(notes)
    store.sha256_of(large)
    if change == "content":
        large.write_bytes(LARGE + b"!")
    elif change == "time":
        os.utime(large, ns=(1, 1))
    else:
        stat = large.stat()
        other = large.with_name("other")
        other.write_bytes(LARGE[::-1])
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        other.replace(large)
    for each in (store, ChecksumStore(notes)):
        assert each.find_sha256(large) is None
    assert store.sha256_of(large) == hashlib.sha256(large.read_bytes()).hexdigest()


def test_hashing_tells_how_far_it_is_and_can_be_stopped(notes: Path, large: Path) -> None:
    store = ChecksumStore(notes)
    progress: list[int] = []
    with pytest.raises(TransferCancelled):
        store.sha256_of(large, progress.append, lambda: True)
    assert store.find_sha256(large) is None
    progress.clear()
    store.sha256_of(large, progress.append, lambda: False)
    assert sum(progress) == len(LARGE)


def test_records_of_a_snapshot_add_up(notes: Path) -> None:
    store = ChecksumStore(notes)
    assert store.find_record(KEY) is None
    store.record(KEY, {"a": (1, "x")})
    store.record(KEY, {"b": (2, "y"), "ü/ c": (3, "z")})
    expected = {"a": (1, "x"), "b": (2, "y"), "ü/ c": (3, "z")}
    assert ChecksumStore(notes).find_record(KEY) == expected
    assert store.find_record(repository_key("org/model", "d" * 40)) is None


def test_a_check_holds_as_long_as_the_files_are_the_same(tmp_path: Path, notes: Path) -> None:
    folder = write_files(tmp_path / "model", {"a": b"1", "b": b"2", "c/d": b"3"})
    key = folder_key(folder)
    store = ChecksumStore(notes)
    assert store.check_of(key, folder) == "unverified"
    store.mark_checked(key, True, read_stamps(folder, ["a", "c/d", "gone"]))
    assert store.check_of(key, folder) == "verified"
    assert store.check_of(key, folder, ["a", "c/d"]) == "verified"
    assert store.check_of(key, folder, ["a", "b"]) == "unverified"
    assert store.check_of(key, folder, []) == "unverified"
    store.mark_checked(key, False, read_stamps(folder, ["b"]))
    other = ChecksumStore(notes)
    assert other.check_of(key, folder, ["a", "b"]) == "damaged"
    assert other.check_of(key, folder, ["a"]) == "verified"
    (folder / "b").write_bytes(b"mended")
    assert other.check_of(key, folder, ["a", "b"]) == "unverified"


BROKEN = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"of": 1}', b"[" * 100_000, b'{"files": [1]}']


@pytest.mark.parametrize("content", BROKEN)
def test_broken_notes_are_ignored_and_replaced(notes: Path, large: Path, content: bytes) -> None:
    store = ChecksumStore(notes)
    expected = store.sha256_of(large)
    store.record(KEY, {"a": (1, "x")})
    store.mark_checked(KEY, True, read_stamps(large.parent, [large.name]))
    for note in notes.rglob("*.json"):
        note.write_bytes(content)
    again = ChecksumStore(notes)
    assert again.find_sha256(large) is None
    assert again.find_record(KEY) is None
    assert again.check_of(KEY, large.parent) == "unverified"
    assert again.sha256_of(large) == expected
    assert ChecksumStore(notes).find_sha256(large) == expected


def test_entries_of_a_wrong_form_are_left_out(notes: Path, large: Path) -> None:
    store = ChecksumStore(notes)
    store.record(KEY, {"a": (1, "x")})
    store.mark_checked(KEY, True, read_stamps(large.parent, [large.name]))
    for note in notes.rglob("*.json"):
        content = json.loads(note.read_text())
        content["files"] |= {"b": [True, "x"], "c": [1], "d": 7, "e": [[1, 2], True]}
        note.write_text(json.dumps(content))
    assert ChecksumStore(notes).find_record(KEY) == {"a": (1, "x")}
    assert ChecksumStore(notes).check_of(KEY, large.parent) == "verified"


def test_notes_that_cannot_be_written_cost_only_time(tmp_path: Path, large: Path) -> None:
    (tmp_path / "file").write_text("")
    store = ChecksumStore(tmp_path / "file" / "notes")
    assert store.sha256_of(large) == hashlib.sha256(LARGE).hexdigest()
    store.record(KEY, {"a": (1, "x")})
    store.mark_checked(KEY, True, {})
    assert store.find_record(KEY) is None


def test_threads_and_processes_share_the_notes(notes: Path, large: Path) -> None:
    """Records of one key from many threads all arrive; a second process reads whole files only."""
    store = ChecksumStore(notes)
    barrier = threading.Barrier(8)

    def work(number: int) -> str:
        barrier.wait()
        store.record(KEY, {f"file{number}": (number, "x")})
        return store.sha256_of(large)

    program = (
        "import sys; from pathlib import Path\n"
        "from engine.weights.checksums import ChecksumStore\n"
        "store = ChecksumStore(Path(sys.argv[1]))\n"
        "for n in range(200):\n"
        "    store.record('other', {str(n): (n, 'y')})\n"
        "    assert store.find_record('other') is not None\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(notes)]) as other:
        with ThreadPoolExecutor(8) as pool:
            hashes = set(pool.map(work, range(8)))
        for number in range(100):
            store.record("other", {f"x{number}": (number, "y")})
            assert store.find_record("other") is not None
        assert other.wait(60) == 0
    assert hashes == {hashlib.sha256(LARGE).hexdigest()}
    assert set(store.find_record(KEY) or ()) == {f"file{number}" for number in range(8)}
    assert not list(notes.rglob("*.tmp"))


def _fingerprint_of_old(folder: Path) -> str:
    """The formula that stored runs were keyed with."""
    suffixes = (".safetensors", ".json", ".jinja", ".model", ".txt")
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in suffixes):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return f"sha256:{digest.hexdigest()}"


@pytest.mark.parametrize("folder", [MODEL_DIR, SAE_DIR])
def test_the_fingerprint_of_a_folder_is_what_it_always_was(notes: Path, folder: Path) -> None:
    cache = FingerprintCache(ChecksumStore(notes))
    assert cache.find(folder) is None
    assert cache.fingerprint(folder) == _fingerprint_of_old(folder)
    assert cache.find(folder) == cache.fingerprint(folder)


def test_a_fingerprint_outlives_the_process(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_files(tmp_path / "model", {"model.safetensors": LARGE, "config.json": b"{}"})
    first = FingerprintCache(ChecksumStore(notes)).fingerprint(folder)
    _unreadable(folder / "model.safetensors", monkeypatch)
    assert FingerprintCache(ChecksumStore(notes)).fingerprint(folder) == first


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, notes: Path) -> None:
    folder = write_files(tmp_path / "model", {"config.json": b"{}"})
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object) -> str:
            raise PermissionError(13, "Permission denied")

        patch.setattr(ChecksumStore, "sha256_of", refuse)
        with pytest.raises(WeightsMissingError, match="Permission denied"):
            FingerprintCache(ChecksumStore(notes)).fingerprint(folder)
