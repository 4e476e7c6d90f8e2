"""The tensors of an SAE's files, read to the device that encodes.

Invariant: nothing is read twice and no tensor exists twice in main memory: a tensor of the wanted
precision on the CPU is the file itself, mapped; any other is converted a block at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open

from engine.devices import is_out_of_memory
from engine.errors import DeviceError, WeightsMissingError
from engine.file_names import shown_name
from engine.sae import Gate, Sae
from engine.sae_config import SaeConfig
from engine.sae_layouts import Part

_BLOCK_ELEMENTS = 32 * 1024 * 1024


class _TensorFile(Protocol):
    def get_tensor(self, name: str) -> torch.Tensor: ...


def load_sae(folder: Path, config: SaeConfig, dtype: torch.dtype, device: torch.device) -> Sae:
    """Reads the weights that `config` describes.

    Args:
        folder: of the SAE.
        config: as `read_sae_config` read it from this folder.
        dtype: that it computes in.
        device: that it encodes on; the decoder stays in the file until it is used.

    Raises:
        WeightsMissingError: if the file is broken, or holds values that are no numbers.
        DeviceError: if the device's memory does not suffice.
    """
    path = folder / config.layout.weights_file
    try:
        with safe_open(path, framework="pt") as file:
            return _read(file, config, dtype, device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"The SAE does not fit into the memory of {device} beside the model.",
            "Set MODEL_DTYPE to bfloat16, or use a smaller source.",
        ) from error
    except (SafetensorError, OSError) as error:
        raise WeightsMissingError(
            f"The SAE's {path.name} in {shown_name(folder)!r} is broken or incomplete: {error}.",
            "Download or copy it again.",
        ) from error


def _read(file: _TensorFile, config: SaeConfig, dtype: torch.dtype, device: torch.device) -> Sae:
    places = config.layout.places

    def stored(part: Part) -> torch.Tensor | None:
        if part not in places:
            return None
        tensor = file.get_tensor(places[part].name)
        return tensor.T if places[part].is_transposed else tensor

    def ready(part: Part) -> torch.Tensor | None:
        tensor = stored(part)
        if tensor is None:
            return None
        # what is kept in rows is converted in rows, whichever way it is looked at
        if places[part].is_transposed:
            moved = _convert(tensor.T, dtype, device).T
        else:
            moved = _convert(tensor, dtype, device)
        _check_numbers(moved, places[part].name)
        return moved

    w_enc, w_dec, b_dec = ready("W_enc"), stored("W_dec"), ready("b_dec")
    if w_enc is None:
        raise WeightsMissingError("The SAE's file has no encoder.", "Download or copy it again.")
    pre_bias, gate = ready("pre_bias"), None
    if config.architecture == "gated":
        bias, scale, magnitude = ready("b_gate"), ready("r_mag"), ready("b_mag")
        if bias is not None and scale is not None and magnitude is not None:
            gate = Gate(bias, scale.exp(), magnitude)
    output_bias = b_dec if b_dec is not None else pre_bias
    input_bias = pre_bias
    if input_bias is None and config.apply_b_dec_to_input:
        input_bias = b_dec
    norm = None
    if config.rescale_by_decoder_norm and w_dec is not None:
        norm = _row_norms(w_dec).to(dtype=dtype, device=device)
    return Sae(
        config=config,
        W_enc=w_enc,
        b_enc=None if gate else ready("b_enc"),
        input_bias=input_bias,
        threshold=ready("threshold") if config.architecture == "jumprelu" else None,
        gate=gate,
        decoder_norm=norm,
        W_dec=w_dec,
        b_dec=output_bias if output_bias is not None else w_enc.new_zeros(config.d_in),
    )


def _convert(tensor: torch.Tensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The tensor in another precision and place, without a second copy of all of it on the way."""
    if tensor.dtype == dtype:
        return tensor.to(device)
    out = torch.empty(tensor.shape, dtype=dtype, device=device)
    for start, stop in _blocks(tensor):
        out[start:stop].copy_(tensor[start:stop])
    return out


def _check_numbers(tensor: torch.Tensor, name: str) -> None:
    rows = tensor.T if tensor.ndim == 2 and not tensor.is_contiguous() else tensor
    for start, stop in _blocks(rows):
        if not torch.isfinite(rows[start:stop]).all():
            raise WeightsMissingError(
                f"The SAE's {name} holds values that are no finite numbers.",
                "Download or copy the file again; if it stays so, set MODEL_DTYPE to float32.",
            )


def _row_norms(w_dec: torch.Tensor) -> torch.Tensor:
    """Norms of the decoder's rows, [d_sae], read once, here."""
    return torch.cat([w_dec[start:stop].norm(dim=-1) for start, stop in _blocks(w_dec)])


def _blocks(tensor: torch.Tensor) -> list[tuple[int, int]]:
    """Ranges of rows that together are the tensor, each of a bounded number of elements."""
    n_rows = tensor.shape[0]
    step = max(1, _BLOCK_ELEMENTS * n_rows // max(1, tensor.numel()))
    return [(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]
