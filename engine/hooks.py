"""Context managers that record one hook point of a model and always detach.

Invariant: when the block is left, by whatever way, the model carries no hook of ours; rows are
appended in the order in which tokens are forwarded, never overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from engine.errors import CaptureError, SourceMismatchError, UnsupportedError
from engine.hook_names import HookPoint


class BatchRecording:
    """Residuals of a batch recorded so far, one chunk a forward pass."""

    def __init__(self) -> None:
        self._chunks: list[torch.Tensor] = []

    def append(self, hidden: torch.Tensor) -> None:
        """Adds those of one forward pass, shape [batch, tokens, d_in]."""
        self._chunks.append(hidden.detach())

    def cpu(self) -> torch.Tensor:
        """All of them, [batch, tokens, d_in], in the model's dtype, on the CPU."""
        if not self._chunks:
            raise CaptureError("Nothing was captured: the hook point was never reached.")
        return torch.cat(self._chunks, dim=1).cpu()


class Recording:
    """Residual rows recorded so far, one chunk a forward pass."""

    def __init__(self) -> None:
        self._chunks: list[torch.Tensor] = []

    def append(self, hidden: torch.Tensor) -> None:
        """Adds the rows of one forward pass, shape [1, tokens, d_in]; no other batch size."""
        if hidden.ndim != 3 or hidden.shape[0] != 1:
            raise CaptureError(
                f"A hook saw a tensor of shape {tuple(hidden.shape)}, not [1, t, d]."
            )
        self._chunks.append(hidden[0].detach())

    @property
    def n_rows(self) -> int:
        """Rows recorded so far."""
        return sum(chunk.shape[0] for chunk in self._chunks)

    def rows(self) -> torch.Tensor:
        """All rows, shape [n_rows, d_in], in the model's dtype and on its device."""
        if not self._chunks:
            raise CaptureError("Nothing was captured: the hook point was never reached.")
        return torch.cat(self._chunks)


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The decoder layers of a Hugging Face model's text decoder (`layers`, or `h` in GPT-2).

    Raises:
        UnsupportedError: if the model has no such list.
    """
    get_decoder = getattr(model, "get_decoder", None)
    decoder = get_decoder() if callable(get_decoder) else model
    for name in ("layers", "h"):
        layers = getattr(decoder, name, None)
        if isinstance(layers, nn.ModuleList):
            return layers
    raise UnsupportedError(
        f"{type(model).__name__} has no list of decoder layers that can be captured.",
        "Use a causal model such as Mistral, Llama, Gemma, Phi-3 or GPT-2.",
    )


@contextmanager
def record(model: nn.Module, point: HookPoint) -> Iterator[Recording]:
    """Records the residual stream at `point` during every forward pass inside the block.

    Args:
        model: a Hugging Face causal language model.
        point: the layer and its side.

    Raises:
        SourceMismatchError: if the model has no such layer.
    """
    recording = Recording()
    with _attached(model, point, recording.append):
        yield recording


@contextmanager
def record_batch(model: nn.Module, point: HookPoint) -> Iterator[BatchRecording]:
    """The same for batches of any size.

    Raises:
        SourceMismatchError: if the model has no such layer.
    """
    recording = BatchRecording()
    with _attached(model, point, recording.append):
        yield recording


@contextmanager
def _attached(
    model: nn.Module, point: HookPoint, append: Callable[[torch.Tensor], None]
) -> Iterator[None]:
    layers = decoder_layers(model)
    if point.layer >= len(layers):
        raise SourceMismatchError(
            f"The hook is at layer {point.layer}, but the model has {len(layers)} layers.",
            "Use an SAE that was trained on this model.",
        )
    layer = layers[point.layer]

    def on_output(_module: nn.Module, _args: tuple[object, ...], output: object) -> None:
        # transformers 4 returned a tuple, 5 returns the tensor itself
        append(_tensor(output[0] if isinstance(output, tuple) else output))

    def on_input(_module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        append(_tensor(args[0] if args else kwargs.get("hidden_states")))

    if point.site == "resid_post":
        handle = layer.register_forward_hook(on_output)
    else:
        handle = layer.register_forward_pre_hook(on_input, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _tensor(value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise CaptureError(f"A hook saw {type(value).__name__} where the residual was expected.")
    return value
