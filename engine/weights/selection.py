"""Which files of a repository a model, a tokenizer or an SAE is made of: those and no others.

Invariant: only safetensors (and small text files) are chosen, never a file that can run code when
it is read, never the same weights twice, and no path that leads out of the repository. An SAE that
is not named unmistakably is refused, so that nobody fetches a hundred of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import PurePosixPath

from engine.errors import RepositoryError, UnsupportedError
from engine.file_names import is_inside
from engine.model_config import INDEX_FILE, WEIGHTS_FILE
from engine.weights.layout import SAE_CONFIGS, is_unused
from engine.weights.parts import Component

_TEXTS = (".json", ".jinja", ".txt", ".model", ".tiktoken", ".md")
_WEIGHTS = ".safetensors"
_ARRAYS = ".npz"
"""Of SAEs that were published in no other form; read as plain arrays, never unpickled."""
_TEMPLATES = "additional_chat_templates/"
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5", ".gguf")
_INDEX_SUFFIX = ".index.json"
_SHOWN = 12


def select_files(
    component: Component,
    repo_id: str,
    inside: str,
    paths: Collection[str],
    read_file: Callable[[str], bytes],
) -> tuple[str, ...]:
    """The files to fetch, sorted.

    Args:
        inside: folder of the repository that is meant; empty for all of it.
        paths: every file of the repository.
        read_file: gives the content of a small one; asked for a model's index only.

    Raises:
        RepositoryError: if the folder is not there, or holds several SAEs.
        UnsupportedError: if there are no safetensors, or the index names what it must not.
    """
    outside = [path for path in paths if not is_inside(path)]
    if outside:
        raise UnsupportedError(
            f"{repo_id!r} lists a file outside of itself: {outside[0][:80]!r}.",
            "Do not use this copy; get it from where it was published.",
        )
    if inside in paths:
        # A location may name the file of weights itself.
        within = [inside, *(path for path in paths if _is_beside(path, inside))]
        return _sae(repo_id, _parent(inside), sorted(within))
    prefix = f"{inside}/" if inside else ""
    within = sorted(path for path in paths if path.startswith(prefix))
    if not within:
        raise RepositoryError(
            f"{repo_id!r} has no folder {inside!r}.",
            f"It has: {_some(_folders(paths)) or 'no folders'}.",
        )
    if component == "sae":
        return _sae(repo_id, inside, within)
    top = [path for path in within if _is_near(path.removeprefix(prefix)) and not is_unused(path)]
    texts = [path for path in top if path.endswith(_TEXTS) and not path.endswith(_INDEX_SUFFIX)]
    if component == "tokenizer":
        return tuple(texts)
    weights = _model_weights(repo_id, prefix, top, set(paths), read_file)
    return tuple(sorted({*texts, *weights}))


def _model_weights(
    repo_id: str,
    prefix: str,
    top: list[str],
    paths: set[str],
    read_file: Callable[[str], bytes],
) -> list[str]:
    single, index = f"{prefix}{WEIGHTS_FILE}", f"{prefix}{INDEX_FILE}"
    # The index first, as our own loading does: a lone file beside it is then another copy.
    if index in paths:
        named = [f"{prefix}{name}" for name in _indexed(repo_id, read_file(index))]
        absent = [name for name in named if name not in paths]
        if absent:
            raise UnsupportedError(
                f"The index of {repo_id!r} names {len(absent)} file{'s' * (len(absent) > 1)} that"
                f" the repository does not have: {_some(absent, 3)}.",
                "Choose another revision with --revision, or another repository.",
            )
        return [index, *named]
    if single in paths:
        return [single]
    weights = [path for path in top if path.endswith(_WEIGHTS)]
    if not weights:
        raise _no_safetensors(repo_id, [path for path in paths if path.startswith(prefix)])
    return weights


def _indexed(repo_id: str, content: bytes) -> list[str]:
    """The files that an index names, sorted, each below the folder of the index."""
    try:
        shards = json.loads(content)["weight_map"].values()
        names = sorted({str(name) for name in shards})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnsupportedError(
            f"The index {INDEX_FILE} of {repo_id!r} cannot be read.",
            "Choose another revision with --revision, or another repository.",
        ) from error
    for name in names:
        if not is_inside(name):
            raise UnsupportedError(
                f"The index of {repo_id!r} names a file outside of its folder: {name[:80]!r}.",
                "Do not use this copy; get the model from where it was published.",
            )
        if not name.endswith(_WEIGHTS):
            raise UnsupportedError(
                f"The index of {repo_id!r} names {name[:80]!r}, which is no safetensors file.",
                "Choose another revision with --revision, or another repository.",
            )
    return names


def _sae(repo_id: str, inside: str, within: list[str]) -> tuple[str, ...]:
    weights = [path for path in within if path.endswith(_WEIGHTS) and not is_unused(path)]
    if not weights and inside:
        weights = [path for path in within if path.endswith(_ARRAYS)]
    configured = {_parent(path) for path in within if path.rsplit("/", 1)[-1] in SAE_CONFIGS}
    with_weights = {_parent(path) for path in weights}
    if not with_weights:
        raise _no_safetensors(repo_id, within)
    # A config and weights side by side are an SAE; where nothing has both, weights alone are.
    saes = sorted(configured & with_weights or with_weights)
    if len(saes) > 1 and inside not in saes:
        raise RepositoryError(
            f"{f'{repo_id}:{inside}'.rstrip(':')!r} holds {len(saes)} SAEs:"
            f" {_some([folder or 'the top folder' for folder in saes])}.",
            f"Name one of them, such as {repo_id}:{next(filter(None, saes))}",
        )
    folder = inside if inside in saes or not configured & with_weights else saes[0]
    prefix = f"{folder}/" if folder else ""
    # weights without a config beside them belong to the folder above them
    nested = set(saes) - {folder} if configured & with_weights else set()
    chosen = [
        path
        for path in within
        if path.startswith(prefix)
        and (path in weights or path.endswith(_TEXTS))
        and _parent(path) not in nested
        and (folder or "/" not in path)
    ]
    return tuple(chosen)


def _no_safetensors(repo_id: str, paths: list[str]) -> UnsupportedError:
    others = [path for path in paths if path.endswith((*_OTHER_WEIGHTS, _ARRAYS))]
    others += [path for path in paths if path.endswith(_WEIGHTS) and is_unused(path)]
    if not others:
        return UnsupportedError(
            f"{repo_id!r} has no weights: no safetensors file is in it.",
            "Check the name of the repository, and the folder inside of it.",
        )
    return UnsupportedError(
        f"{repo_id!r} offers no safetensors that can be loaded, only {_some(sorted(others), 3)};"
        " nothing is fetched.",
        "Featurebook reads safetensors only. A converted copy is often in a pull request of the"
        " repository: then add --revision refs/pr/N",
    )


def _is_near(path: str) -> bool:
    """Whether a file lies in the folder itself, where models and tokenizers are read from."""
    return "/" not in path or path.startswith(_TEMPLATES)


def _is_beside(path: str, other: str) -> bool:
    """Whether a text lies in the same folder as another file."""
    return _parent(path) == _parent(other) and path.endswith(_TEXTS)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _folders(paths: Collection[str]) -> list[str]:
    return sorted({str(PurePosixPath(path).parent) for path in paths} - {"."})


def _some(names: Collection[str], limit: int = _SHOWN) -> str:
    """Names in a row, as many as one can read."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
