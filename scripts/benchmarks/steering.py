"""What steering costs: generation with capture, steered in several ways, against capture alone.

Invariant: all ways are measured in turns in one run, each with what a stored run would need: the
features of every token, and what the interventions achieved.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedModel

from engine.catalog import Catalog
from engine.devices import choose_placement
from engine.generation import Generation, generate
from engine.hook_names import HookPoint
from engine.resident import load_source
from engine.sae import Sae, encode
from engine.settings import EngineSettings
from engine.steering_plan import make_ready
from engine.steering_report import to_readings
from engine.steering_session import Member, SteeringSession
from scripts.benchmarks.figures import Comparison, alternate, to_side
from scripts.benchmarks.shapes import (
    SHAPES,
    build_model,
    build_sae,
    fire_about,
    with_features,
)
from store.interventions import Condition, Intervention, SteeringSpec
from store.specs import SamplingSpec

AIM_RATIO = 0.95
N_ACTIVE = 64
_VECTOR_ID = "0" * 20
_ALONE = "capture alone"
_GATE = Condition(-1e6, tuple(range(16)), at="last_prompt")
_WAYS: Mapping[str, SteeringSpec] = {
    "add a feature": SteeringSpec((Intervention("add", 1e-3, feature=7, raw_strength=1e-3),)),
    "add a feature, gated by 16": SteeringSpec(
        (
            Intervention(
                "add", 1e-3, feature=7, raw_strength=1e-3, positions="answering", condition=_GATE
            ),
        )
    ),
    "clamp a feature": SteeringSpec((Intervention("clamp", 1e-3, feature=7, raw_strength=1e-3),)),
    "add a vector, erase it": SteeringSpec(
        (
            Intervention("add", 1e-3, vector_id=_VECTOR_ID, layer=0, raw_strength=1e-3),
            Intervention("erase", vector_id=_VECTOR_ID, layer=1),
        )
    ),
}


@dataclass(frozen=True, slots=True)
class _Steered:
    """A model, its SAE, and a prompt to go on from."""

    model: PreTrainedModel
    hook: HookPoint
    sae: Sae
    prompt: tuple[int, ...]

    def run(self, spec: SteeringSpec | None, n_new: int) -> None:
        """One generation, with all that is stored of it."""
        session = None
        if spec is not None:
            # made for every run, as for a run that is stored
            d_model = self.sae.config.d_in
            vectors = {_VECTOR_ID: np.ones(d_model, np.float32)}
            ready = make_ready(self.sae, self.hook, spec, vectors)
            session = SteeringSession(ready, [Member(len(self.prompt), 1)], is_noted=True)
        done = self._generate(session, n_new)
        if done.residual is None:
            raise RuntimeError("nothing was captured")
        with torch.inference_mode():
            code = encode(self.sae, done.residual)
            if session is not None:
                to_readings(session, code, 0, ())

    def _generate(self, session: SteeringSession | None, n_new: int) -> Generation:
        return generate(
            self.model,
            self.hook,
            self.prompt,
            SamplingSpec(max_new_tokens=n_new),
            frozenset(),
            1 << 17,
            lambda _step: None,
            lambda: False,
            steering=session,
        )


def measure_steering(
    repeats: int, n_new: int, device: str, shape_name: str, n_features: int | None
) -> tuple[Comparison, ...]:
    """Tokens a second, steered in several ways, on the demo and on a shape of random weights.

    Args:
        repeats: measured rounds, after one that warms up.
        n_new: tokens generated a round.
        device: such as `cpu` or `cuda`.
        shape_name: of SHAPES.
        n_features: of the shape's SAE, if not its own.
    """
    title = f"{shape_name}, random"
    subjects = {"demo (toy)": _demo(device), title: _random(device, shape_name, n_features)}
    return tuple(
        comparison
        for name, subject in subjects.items()
        for comparison in _compare(f"{name}, {n_new} tokens, {device}", subject, repeats, n_new)
    )


def _demo(device: str) -> _Steered:
    settings = EngineSettings(device=device, _env_file=None)
    resident = load_source(Catalog(settings).resolve("demo"), device)
    if resident.sae is None or resident.source.hook is None:
        raise RuntimeError("the demo has an SAE")
    return _Steered(
        resident.language.model, resident.source.hook, resident.sae, tuple(range(5, 37))
    )


def _random(device_setting: str, shape_name: str, n_features: int | None) -> _Steered:
    shape = with_features(SHAPES[shape_name], n_features)
    device = choose_placement(device_setting).first
    model = build_model(shape, device)
    hook = HookPoint(shape.layer, "resid_post")
    prompt = tuple(range(3, 3 + shape.n_prompt))
    with torch.inference_mode():
        sae = build_sae(shape, device)
        # one row for all features: of the decoder, steering reads no more than a few
        row = torch.randn(1, shape.d_model, dtype=sae.W_enc.dtype)
        sae = replace(sae, W_dec=row.expand(shape.d_sae, shape.d_model))
        residual = _Steered(model, hook, sae, prompt)._generate(None, 1).residual
        if residual is None:
            raise RuntimeError("nothing was captured")
        return _Steered(model, hook, fire_about(sae, residual, N_ACTIVE), prompt)


def _compare(title: str, subject: _Steered, repeats: int, n_new: int) -> list[Comparison]:
    actions: list[Callable[[], object]] = [lambda: subject.run(None, n_new)]
    actions += [lambda spec=spec: subject.run(spec, n_new) for spec in _WAYS.values()]  # type: ignore[misc]
    alone_s, *steered = alternate(actions, repeats)
    alone = to_side(_ALONE, [n_new / s for s in alone_s], "tokens/s")
    comparisons = []
    for name, steered_s in zip(_WAYS, steered, strict=True):
        side = to_side(name, [n_new / s for s in steered_s], "tokens/s")
        # of each round by itself: a slow moment of the machine slows both
        ratio = statistics.median(a / b for a, b in zip(alone_s, steered_s, strict=True))
        comparisons.append(
            Comparison(
                title=f"Steering, {title}",
                sides=(alone, side),
                ratio=ratio,
                ratio_of="steered / capture alone, by rounds",
                aim=f"at least {AIM_RATIO}",
                is_reached=ratio >= AIM_RATIO,
            )
        )
    return comparisons
