"""How large the residuals of a model are after each of its layers, on neutral texts.

Invariant: all layers are measured on the same tokens in one pass of each text; the first token of a
text is left out, because many models park a residual on it that is hundreds of times longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch

from engine.errors import GenerationCancelled, UnsupportedError
from engine.hook_names import HookPoint
from engine.hooks import decoder_layers, record
from engine.prompting import tokenise
from engine.resident import ResidentSource
from engine.tokenizing import reads_chats
from store.specs import Message, RunKind, RunSpec
from store.steering_records import ResidualNorm


@torch.inference_mode()
def measure_norms(
    resident: ResidentSource, texts: Sequence[str], is_cancelled: Callable[[], bool]
) -> tuple[ResidualNorm, ...]:
    """The mean length of the residual after the embedding (layer -1) and after each layer.

    Args:
        resident: the source.
        texts: each asked as a question where the model reads chats, else read as it is.
        is_cancelled: asked before every text.

    Raises:
        UnsupportedError: if the residuals are no finite numbers.
        GenerationCancelled: if is_cancelled said so.
    """
    model, tokenizer = resident.language.model, resident.language.tokenizer
    n_layers = len(decoder_layers(model))
    points = [HookPoint(0, "resid_pre"), *(HookPoint(n, "resid_post") for n in range(n_layers))]
    norms = torch.zeros(len(points), dtype=torch.float64)
    stds = torch.zeros(len(points), dtype=torch.float64)
    n_tokens = 0
    for text in texts:
        if is_cancelled():
            raise GenerationCancelled
        kind: RunKind = "generation" if reads_chats(tokenizer) else "text"
        spec = RunSpec(resident.source.spec, (Message("user", text),), kind)
        ids = tokenise(tokenizer, spec).token_ids
        with ExitStack() as until_read:
            recordings = [until_read.enter_context(record(model, point)) for point in points]
            model(input_ids=torch.tensor([ids], device=resident.language.device), use_cache=False)
        n_tokens += len(ids) - 1
        for index, recording in enumerate(recordings):
            rows = recording.rows()[1:].float()
            norms[index] += rows.norm(dim=-1).cpu().double().sum()
            stds[index] += rows.std(dim=-1).cpu().double().sum()
    if not n_tokens or not (norms.isfinite().all() and stds.isfinite().all()):
        raise UnsupportedError(
            "The residuals of this model are no finite numbers: strengths have no unit.",
            "Set MODEL_DTYPE to bfloat16 or float32: in float16 some models overflow.",
        )
    return tuple(
        ResidualNorm(layer - 1, norm / n_tokens, std / n_tokens, n_tokens)
        for layer, (norm, std) in enumerate(zip(norms.tolist(), stds.tolist(), strict=True))
    )
