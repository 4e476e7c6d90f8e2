"""Operators as tensor functions: identities bit for bit, sums, SAEs that normalise or rescale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import RequestError, UnsupportedError
from engine.hook_names import HookPoint
from engine.sae import Sae, decode, encode_dense
from engine.sae_config import read_sae_config
from engine.sae_features import gather_directions, gather_reader
from engine.sae_loading import load_sae
from engine.steering import Change, along, change_residual, clamp_by, erase_by, scale_by
from engine.steering_plan import make_ready
from engine.steering_session import Member, SteeringSession
from store.specs import Condition, Intervention, SteeringSpec
from tests.engine.checkpoints import D_MODEL, D_SAE
from tests.engine.checkpoints_saes import (
    BARE_CONFIG,
    SAELENS_CONFIG,
    linear_names,
    random_weights,
    write_sae,
)

KINDS: Mapping[str, Mapping[str, Any]] = {
    "standard": {"architecture": "standard"},
    "topk": {"architecture": "topk", "k": 9},
    "jumprelu": {"architecture": "jumprelu"},
    "gated": {"architecture": "gated"},
    "layer_norm": {"architecture": "standard", "normalize_activations": "layer_norm"},
    "constant_norm": {
        "architecture": "standard",
        "normalize_activations": "constant_norm_rescale",
    },
    "rescaled": {"architecture": "topk", "k": 9, "rescale_acts_by_decoder_norm": True},
    "all at once": {
        "architecture": "jumprelu",
        "normalize_activations": "layer_norm",
        "rescale_acts_by_decoder_norm": True,
    },
}
HOOK = HookPoint(1, "resid_post")


def hidden(seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[2, 5, d] with a minus zero, which a sum with zero would turn into zero."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, 5, D_MODEL, generator=generator) * 3
    rows[:, :, 0] = -0.0
    return rows.to(dtype)


def make_sae(folder: Path, name: str, dtype: torch.dtype = torch.float32) -> Sae:
    config = {**SAELENS_CONFIG, **KINDS[name]}
    write_sae(folder, random_weights(config["architecture"]), config)
    return load_sae(folder, read_sae_config(folder), dtype, torch.device("cpu"))


@pytest.fixture(params=KINDS)
def sae(request: pytest.FixtureRequest, tmp_path: Path) -> Sae:
    return make_sae(tmp_path, request.param)


def steer(sae: Sae | None, rows: torch.Tensor, *items: Intervention) -> torch.Tensor:
    """All positions of both rows, by the hooks of a session on a layer that does nothing."""
    ready = make_ready(sae, HOOK if sae else None, SteeringSpec(items), {"1" * 20: VECTOR})
    session = SteeringSession(ready, [Member(rows.shape[1]), Member(rows.shape[1])])
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList(_Still() for _ in range(3))
    with torch.inference_mode(), session.attached(model):
        session.begin(0)
        out = rows
        for layer in model.layers:
            out = layer(out)
    return out


class _Still(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows


VECTOR = np.random.default_rng(5).normal(size=D_MODEL).astype(np.float32)


def feature(kind: str, strength: float, index: int, **values: Any) -> Intervention:
    given = None if kind in ("ablate", "erase") else strength
    return Intervention(kind, strength, feature=index, raw_strength=given, **values)  # type: ignore[arg-type]


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.int32 if tensor.dtype == torch.float32 else torch.int16)


def firing(sae: Sae, rows: torch.Tensor) -> tuple[int, int]:
    """The feature that fires on most of the rows, and the one that does on the fewest."""
    n_active = (encode_dense(sae, rows.reshape(-1, D_MODEL)) > 0).sum(0)
    return int(n_active.argmax()), int(n_active.argmin())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", KINDS)
def test_what_changes_nothing_changes_no_bit(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    sae = make_sae(tmp_path, name, dtype)
    rows = hidden(dtype=dtype)[:, :1]
    fires, silent = firing(sae, rows)
    assert encode_dense(sae, rows.reshape(-1, D_MODEL))[:, silent].max() == 0
    for item in (
        feature("add", 0.0, fires),
        feature("scale", 1.0, fires),
        feature("clamp", 0.0, silent),
        feature("ablate", 0.0, silent),
        feature("scale", 5.0, silent),
    ):
        assert torch.equal(bits(steer(sae, rows, item)), bits(rows)), item
    # both together change what one of them changes
    both = steer(sae, rows, feature("scale", 5.0, silent), feature("add", 1.0, fires))
    assert torch.equal(both, steer(sae, rows, feature("add", 1.0, fires)))
    assert not torch.equal(both, rows)


def test_clamping_to_what_is_there_changes_no_bit(sae: Sae) -> None:
    rows = hidden()[:, :1]
    fires, _ = firing(sae, rows[:1])
    # as it is stored: encoded with all other features
    there = float(encode_dense(sae, rows[0])[0, fires])
    assert there > 0
    steered = steer(sae, rows, feature("clamp", there, fires))
    assert torch.equal(bits(steered[0]), bits(rows[0]))
    assert not torch.equal(steered[1], rows[1])
    assert not torch.equal(steer(sae, rows, feature("clamp", there * 1.001, fires))[0], rows[0])


def test_a_change_is_that_of_the_reconstruction_and_the_error_is_kept(sae: Sae) -> None:
    rows = hidden()[0]
    activations = encode_dense(sae, rows)
    fires, silent = firing(sae, rows)
    before = decode(sae, activations, rows)
    wanted = {
        "add": activations[:, fires] + 2.0,
        "clamp": torch.full((5,), 1.5),
        "ablate": torch.zeros(5),
        "scale": 0.25 * activations[:, fires],
    }
    strengths = {"add": 2.0, "clamp": 1.5, "ablate": 0.0, "scale": 0.25}
    for kind, value in wanted.items():
        changed = activations.clone()
        changed[:, fires] = value
        expected = rows + decode(sae, changed, rows) - before
        got = steer(sae, torch.stack([rows, rows]), feature(kind, strengths[kind], fires))
        torch.testing.assert_close(got[0], expected, atol=1e-4, rtol=1e-4)
    # a feature is clamped to the same although it was silent
    changed = activations.clone()
    changed[:, silent] = 1.5
    got = steer(sae, torch.stack([rows, rows]), feature("clamp", 1.5, silent))
    torch.testing.assert_close(
        got[0], rows + decode(sae, changed, rows) - before, atol=1e-4, rtol=1e-4
    )


def test_several_at_one_layer_all_see_what_arrives_there(sae: Sae) -> None:
    rows = hidden()
    fires, silent = firing(sae, rows)
    items = (
        feature("scale", 3.0, fires),
        feature("add", 1.5, silent),
        Intervention("erase", vector_id="1" * 20, layer=1),
        Intervention("add", 0.5, vector_id="1" * 20, layer=1, raw_strength=0.5),
    )
    deltas = sum(steer(sae, rows, item) - rows for item in items)
    torch.testing.assert_close(steer(sae, rows, *items), rows + deltas, atol=1e-4, rtol=1e-4)


def test_only_the_features_that_are_asked_for_are_read(sae: Sae) -> None:
    rows = hidden()[0]
    chosen = [40, 3, 77]
    read = gather_reader(sae, chosen).read(rows)
    torch.testing.assert_close(read, encode_dense(sae, rows)[:, chosen], atol=1e-5, rtol=1e-5)
    if sae.config.k is None:
        assert gather_reader(sae, chosen).sae.W_enc.shape == (D_MODEL, 3)
    assert gather_directions(sae, chosen).shape == (3, D_MODEL)


def test_the_sum_is_rounded_to_the_models_precision_once() -> None:
    rows = torch.full((1, 1, 4), 256.0, dtype=torch.bfloat16)
    small = Change(torch.full((4,), 0.6))
    # each alone is less than half of the distance between neighbours, 2
    assert torch.equal(change_residual(rows, [small]), rows)
    assert change_residual(rows, [small, small]).tolist() == [[[258.0] * 4]]


def test_operators_are_plain_functions() -> None:
    activation = torch.tensor([[0.0, 1.0, 2.5]])
    assert clamp_by(activation, 2.5).tolist() == [[2.5, 1.5, 0.0]]
    assert clamp_by(activation, 2.5000001, rounding=1e-6).tolist()[0][2] == 0
    assert scale_by(activation, 0.0).tolist() == [[0.0, -1.0, -2.5]]
    rows = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
    unit = torch.tensor([0.0, 1.0])
    erased = change_residual(rows, [along(erase_by(rows, unit), unit, None)])
    assert erased.tolist() == [[[3.0, 0.0], [0.0, 0.0]]]
    again = change_residual(erased, [along(erase_by(erased, unit), unit, None)])
    assert torch.equal(again, erased)
    nowhere = torch.tensor([[[False], [True]]])
    part = change_residual(rows, [along(erase_by(rows, unit), unit, nowhere)])
    assert part.tolist() == [[[3.0, 4.0], [0.0, 0.0]]]


def test_a_gate_is_of_each_row_of_a_batch_alone(tmp_path: Path) -> None:
    sae = make_sae(tmp_path, "standard")
    rows = hidden(3)
    fires = int((encode_dense(sae, rows[0, -1:]) - encode_dense(sae, rows[1, -1:]))[0].argmax())
    first, second = (float(encode_dense(sae, rows[n, -1:])[0, fires]) for n in (0, 1))
    gate = Condition((first + second) / 2, (fires,), at="last_prompt")
    item = feature("add", 2.0, 5, positions="last_prompt", condition=gate)
    steered = steer(sae, rows, item)
    assert torch.equal(steered[1], rows[1])
    assert torch.equal(steered[0, :-1], rows[0, :-1])
    torch.testing.assert_close(steered[0, -1], rows[0, -1] + 2.0 * gather_directions(sae, [5])[0])
    other = replace(item, condition=replace(gate, side="below"))
    assert torch.equal(steer(sae, rows, other)[0], rows[0])


def test_an_sae_without_a_decoder_is_not_steered_by(tmp_path: Path) -> None:
    weights = linear_names(random_weights())
    kept = {name: value for name, value in weights.items() if not name.startswith("decoder")}
    config = {**BARE_CONFIG, "hook_name": "blocks.1.hook_resid_post", "activation": "relu"}
    folder = write_sae(tmp_path, kept, config)
    sae = load_sae(folder, read_sae_config(folder), torch.float32, torch.device("cpu"))
    with pytest.raises(UnsupportedError, match="without its decoder"):
        make_ready(sae, HOOK, SteeringSpec((feature("add", 1.0, 3),)), {})
    # what its features say can still decide about a vector
    gate = Condition(0.0, (3,))
    item = Intervention("add", 1.0, vector_id="1" * 20, layer=1, raw_strength=1.0, condition=gate)
    rows = hidden()
    steered = steer(sae, rows, item)
    fires = encode_dense(sae, rows.reshape(-1, D_MODEL))[:, 3].reshape(2, 5) > 0
    assert torch.equal((steered != rows).any(-1), fires)
    assert bool(fires.any())
    assert not bool(fires.all())


def test_features_need_an_sae_and_conditions_come_before(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no SAE"):
        make_ready(None, None, SteeringSpec((feature("add", 1.0, 3),)), {})
    rows = hidden()
    vector = Intervention("add", 1.0, vector_id="1" * 20, layer=1, raw_strength=1.0)
    expected = rows + torch.tensor(VECTOR)
    torch.testing.assert_close(steer(None, rows, vector), expected)
    sae = make_sae(tmp_path, "standard")
    late = replace(vector, layer=0, condition=Condition(0.0, (3,)))
    with pytest.raises(RequestError, match="after layer 1 cannot decide"):
        make_ready(sae, HOOK, SteeringSpec((late,)), {"1" * 20: VECTOR})
    with pytest.raises(RequestError, match="not stored"):
        make_ready(sae, HOOK, SteeringSpec((vector,)), {})
    assert D_SAE == 96
