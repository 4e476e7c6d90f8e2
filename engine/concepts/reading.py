"""Residual rows of texts, at every layer in one pass: what vectors and profiles are made from.

Invariant: texts of one length are read together and none is padded, so that a row is what its text
alone would give; hooks are gone when a call returns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedTokenizerBase

from engine.concepts.pairs import Form, PairSet, Reading
from engine.errors import CaptureError, PromptTooLongError, SourceMismatchError
from engine.hooks import decoder_layers
from engine.prompting import tokenise
from engine.resident import ResidentSource
from store.specs import Message, RunSpec

_BATCH_TOKENS = 4096
_HOLE = "{text}"
_PROBES = ("a", "7")


@torch.inference_mode()
def read_rows(
    resident: ResidentSource,
    ids: Sequence[Sequence[int]],
    first: Sequence[int],
    reading: Reading,
    layers: Sequence[int],
) -> npt.NDArray[np.float32]:
    """The residual after each layer, one row a text.

    Args:
        resident: the model; nothing steers it.
        ids: token ids of each text.
        first: of each text, the position that its mean begins at.
        reading: `mean` over the positions from `first` on, or the `last` position.
        layers: decoder layers, from 0.

    Returns:
        [n_texts, n_layers, d_model] float32.

    Raises:
        PromptTooLongError: if a text does not fit the model's context.
        SourceMismatchError: if the model has no such layer.
    """
    model = resident.language.model
    modules = decoder_layers(model)
    check_layers(layers, len(modules))
    n_context = resident.source.n_context
    groups: dict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(ids):
        if len(row) > n_context:
            raise PromptTooLongError(len(row), n_context)
        groups[len(row)].append(index)
    out = np.zeros((len(ids), len(layers), resident.source.spec.d_in), np.float32)
    kept: dict[int, torch.Tensor] = {}
    with ExitStack() as attached:
        for place, layer in enumerate(layers):
            handle = modules[layer].register_forward_hook(_keep(kept, place))
            attached.callback(handle.remove)
        for length, indices in groups.items():
            size = max(1, _BATCH_TOKENS // length)
            for start in range(0, len(indices), size):
                chosen = indices[start : start + size]
                batch = torch.tensor(
                    [list(ids[i]) for i in chosen], device=resident.language.device
                )
                model(input_ids=batch, use_cache=False, logits_to_keep=1)
                begins = [0 if reading == "last" else first[i] for i in chosen]
                for place in range(len(layers)):
                    hidden = kept[place].float()
                    out[chosen, place] = _reduced(hidden, begins, reading).cpu().numpy()
    return out


def check_layers(layers: Sequence[int], n_layers: int) -> None:
    """Refuses layers that a model does not have.

    Raises:
        SourceMismatchError: if there is one.
    """
    if wrong := [layer for layer in layers if not 0 <= layer < n_layers]:
        raise SourceMismatchError(
            f"There is no layer {wrong[0]}: the model has the layers 0 to {n_layers - 1}.",
            "Choose one of these.",
        )


def encode_texts(
    resident: ResidentSource, pairs: PairSet, texts: Sequence[str]
) -> tuple[list[list[int]], list[int]]:
    """Token ids of texts in every template of a pair set, and where the mean of each begins.

    Returns:
        Ids and beginnings, template by template: row t * n_texts + i is text i in template t.
    """
    ids, first = [], []
    for template in pairs.templates:
        # a text begins where it parts from two others, which have nothing in common themselves
        probes = [_ids(resident, template.replace(_HOLE, text), pairs.form) for text in _PROBES]
        for text in texts:
            row = _ids(resident, template.replace(_HOLE, text), pairs.form)
            ids.append(row)
            begin = min(_n_common(probe, row) for probe in probes)
            first.append(min(begin, len(row) - 1))
    return ids, first


def _ids(resident: ResidentSource, text: str, form: Form) -> list[int]:
    tokenizer = resident.language.tokenizer
    if form == "text":
        return plain_ids(tokenizer, text)
    spec = RunSpec(resident.source.spec, (Message("user", text),))
    return list(tokenise(tokenizer, spec).token_ids)


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text as it is, with what the tokenizer puts before every text."""
    return list(tokenizer(text)["input_ids"])


def _n_common(left: list[int], right: list[int]) -> int:
    n = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        n += 1
    return n


def _keep(kept: dict[int, torch.Tensor], place: int) -> Callable[..., None]:
    def keep(_module: torch.nn.Module, _args: object, output: object) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if not isinstance(hidden, torch.Tensor):
            raise CaptureError("A layer gave no tensor where its residual was expected.")
        kept[place] = hidden

    return keep


def _reduced(hidden: torch.Tensor, begins: list[int], reading: Reading) -> torch.Tensor:
    """[batch, d_model] of [batch, length, d_model]."""
    if reading == "last":
        return hidden[:, -1]
    return torch.stack([row[begin:].mean(0) for row, begin in zip(hidden, begins, strict=True)])
