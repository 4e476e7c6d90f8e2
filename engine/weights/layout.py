"""Which files of a folder are a model's, a tokenizer's or an SAE's, and which of them are missing.

Invariant: names of files come from the folder itself and never lead out of it; no file of weights
is read beyond its header, so that looking at 50 GB takes milliseconds.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from engine.errors import WeightsMissingError
from engine.file_names import is_inside, shown_name
from engine.model_config import INDEX_FILE, WEIGHTS_FILE
from engine.safetensors_header import read_header

CONFIG_FILE = "config.json"
SAE_WEIGHTS = ("sae_weights.safetensors", WEIGHTS_FILE)
SAE_CONFIGS = ("cfg.json", CONFIG_FILE)
TOKENIZER_FILES = (
    "tokenizer.json",
    "tekken.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_TOKENIZERS = (
    {"tokenizer.json"},
    {"tekken.json"},
    {"tokenizer.model"},
    {"vocab.json", "merges.txt"},
)
"""Each of these is a tokenizer by itself."""
UNUSED = ("consolidated*", "original/*")
"""The same weights once more, in the layout of whoever published them."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.npz")
_MAX_DEPTH = 4


def is_unused(path: str) -> bool:
    """Whether a file of a repository, by its relative path, is never read here."""
    return any(fnmatch.fnmatch(path, pattern) for pattern in UNUSED) or is_pickle(path)


def is_pickle(path: str) -> bool:
    """Whether a file, by its name, is of a kind that can run code when it is read."""
    return any(fnmatch.fnmatch(path.lower(), pattern) for pattern in PICKLES)


def list_shards(folder: Path) -> tuple[str, ...]:
    """The files of a model's weights: those that its index names, or the one file.

    Raises:
        WeightsMissingError: if the index cannot be read, or names a file outside the folder.
    """
    index = folder / INDEX_FILE
    if not os.path.lexists(index):
        return (WEIGHTS_FILE,)
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except FileNotFoundError:
        # a link whose blob is gone: the index itself is what is missing
        return (INDEX_FILE,)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsMissingError(
            f"The file {INDEX_FILE} of {shown_name(folder)!r} cannot be read.",
            "Copy the file again from where the model was published.",
        ) from error
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise WeightsMissingError(
            f"The file {INDEX_FILE} of {shown_name(folder)!r} names no file of weights.",
            "Copy the file again from where the model was published.",
        )
    names = tuple(sorted({str(name) for name in shards.values()}))
    outside = [name for name in names if not is_inside(name)]
    if outside:
        raise WeightsMissingError(
            f"The file {INDEX_FILE} of {shown_name(folder)!r} names a file outside of its folder: "
            f"{outside[0][:80]!r}.",
            "Do not use this copy; get the model from where it was published.",
        )
    return names


def missing_files(folder: Path) -> tuple[str, ...]:
    """The files of a model's weights that are not there; links whose file is gone count.

    Raises:
        WeightsMissingError: if the index cannot be read, or names a file outside the folder.
        OSError: if this user may not see what is there.
    """
    return tuple(name for name in list_shards(folder) if not is_there(folder / name))


def is_there(path: Path) -> bool:
    """Whether this is a file, or a link to one.

    Raises:
        OSError: if this user may not see that.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise


def dangling_files(folder: Path) -> tuple[str, ...]:
    """Links directly in a folder whose file is gone, sorted; of what is never read, none."""
    try:
        with os.scandir(folder) as entries:
            links = [entry.name for entry in entries if entry.is_symlink()]
    except OSError:
        return ()
    return tuple(
        sorted(name for name in links if not is_unused(name) and not (folder / name).exists())
    )


def cut_files(folder: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Those safetensors files that are shorter than their headers say, or have no header.

    Raises:
        OSError: if one cannot be read.
    """
    there = (name for name in names if name.endswith(".safetensors") and is_there(folder / name))
    return tuple(name for name in there if not _is_long_enough(folder / name))


def tokenizer_files(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tokenizer's files that are there, and what is missing for it to be whole."""
    listed = [name for name in TOKENIZER_FILES if is_there(folder / name)]
    templates = sorted(path.name for path in folder.glob("chat_template.*") if is_there(path))
    extra = folder / "additional_chat_templates"
    templates += sorted(f"{extra.name}/{path.name}" for path in extra.glob("*.jinja"))
    dangling = tuple(
        name
        for name in dangling_files(folder)
        if name in TOKENIZER_FILES or name.startswith("chat_template.")
    )
    if dangling or any(wanted <= set(listed) for wanted in _TOKENIZERS):
        return (*listed, *templates), dangling
    if {"vocab.json", "merges.txt"} & set(listed):
        wanted = ({"vocab.json", "merges.txt"} - set(listed)).pop()
        return (*listed, *templates), (wanted,)
    return (*listed, *templates), ("tokenizer.json",)


def sae_files(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The SAE's files that are there, and what is missing for it to be whole."""
    configs = [name for name in SAE_CONFIGS if is_there(folder / name)]
    weights = [name for name in SAE_WEIGHTS if is_there(folder / name)]
    missing = [] if configs else [SAE_CONFIGS[0]]
    if not weights:
        missing.append(WEIGHTS_FILE if os.path.lexists(folder / WEIGHTS_FILE) else SAE_WEIGHTS[0])
    elif len(weights) == 2:
        weights = weights[:1]
    sparsity = [name for name in ("sparsity.safetensors",) if is_there(folder / name)]
    return (*configs, *weights, *sparsity), tuple(missing)


def find_folders(root: Path, needed: Iterable[str]) -> list[Path]:
    """The folder itself if it has one of these files, else those below that have one, sorted.

    Links to folders are not followed, and hidden folders are left out.
    """
    names = set(needed)
    return [root] if names & _names_in(root) else _find_below(root, names)


def find_sae_folders(root: Path) -> list[Path]:
    """The folders of SAEs at or below a folder, sorted.

    Where some have a config and weights, others, such as a repository's top folder with a config
    of its own, are left out.
    """
    if set(SAE_CONFIGS) & _names_in(root) and set(SAE_WEIGHTS) & _names_in(root):
        return [root]
    configured = _find_below(root, set(SAE_CONFIGS))
    with_weights = _find_below(root, set(SAE_WEIGHTS))
    return sorted(set(configured) & set(with_weights)) or with_weights or configured


def _find_below(root: Path, names: set[str]) -> list[Path]:
    found = []
    for folder, subfolders, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        subfolders[:] = [
            name for name in subfolders if not name.startswith(".") and depth < _MAX_DEPTH
        ]
        if names & set(files):
            found.append(Path(folder))
    return sorted(found)


def _names_in(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def has_pickles(folder: Path) -> bool:
    """Whether weights in a form that can run code lie directly in a folder."""
    return any(is_pickle(name) for name in _names_in(folder))


def _is_long_enough(path: Path) -> bool:
    # that it may not be read is another fault than that it is too short
    with path.open("rb"):
        pass
    try:
        read_header(path)
    except WeightsMissingError:
        return False
    return True
