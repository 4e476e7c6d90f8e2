"""A run from its spec: tokenise, generate and capture, encode, and make records of it.

Invariant: a function of the spec and the resident source, time stamps and progress excepted; it
reads and writes no store. What runs before it have computed of its prompt is not computed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import torch

from engine.devices import is_out_of_memory
from engine.errors import DeviceError
from engine.generation import Generation, generate
from engine.jobs import LiveToken
from engine.positions import Range
from engine.prefixes import Prefix, find_layers
from engine.prompting import Prompt, tokenise
from engine.readings import Reading
from engine.resident import ResidentSource
from engine.rows import count_active, to_activations, to_tokens
from engine.sae import SparseCode, empty_code, encode
from engine.steering_plan import Vectors, make_ready
from engine.steering_report import to_readings, to_records
from engine.steering_session import Member, SteeringSession
from engine.steps import GenerationStep
from engine.token_text import PieceDecoder, token_texts
from engine.tokenizing import begins_with_bos, special_ids
from store.keys import canonical_json, source_id
from store.records import Activations, Run, SharedBeginning, Token
from store.specs import RunSpec
from store.steering_records import RunIntervention


@dataclass(frozen=True, slots=True)
class ComputedRun:
    """Everything that the store keeps of a run.

    Attributes:
        activations: of the tokens after the shared beginning, if there is one.
        shared: beginning whose activations another stored run has.
        prefix: what later runs can begin with, once this one is stored; None if they cannot.
        interventions: what those of a steered run achieved.
    """

    run: Run
    tokens: tuple[Token, ...]
    activations: Activations
    shared: SharedBeginning | None
    prefix: Prefix | None
    interventions: tuple[RunIntervention, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a computation tells how far it is.

    Attributes:
        on_prompt: called once, with the number of the prompt's tokens and the most that follow.
        on_token: called with each generated token.
        is_cancelled: asked before every forward pass.
    """

    on_prompt: Callable[[int, int], None]
    on_token: Callable[[LiveToken], None]
    is_cancelled: Callable[[], bool]


def compute_run(
    resident: ResidentSource,
    spec: RunSpec,
    run_key: str,
    created_by: str,
    progress: Progress,
    vectors: Vectors = MappingProxyType({}),
) -> ComputedRun:
    """Computes a run.

    Args:
        resident: its source.
        spec: everything that defines it; its steering resolved.
        run_key: of it.
        created_by: who asked first.
        progress: told how far it is.
        vectors: values of the vectors that its steering names, by id.

    Raises:
        RequestError: if the prompt does not fit the model.
        UnsupportedError: if the model computes values that are no numbers.
        DeviceError: if the device's memory does not suffice.
        GenerationCancelled: if progress.is_cancelled said so.
    """
    started = time.perf_counter()
    model, tokenizer = resident.language.model, resident.language.tokenizer
    prompt = tokenise(tokenizer, spec)
    steering = canonical_json(spec.steering.interventions)
    session = _to_session(resident, spec, prompt, vectors)
    ranges = tuple(each for (each,) in session.ranges) if session else ()
    sampling = spec.sampling if spec.kind == "generation" else None
    progress.on_prompt(len(prompt.token_ids), sampling.max_new_tokens if sampling else 0)
    pieces = PieceDecoder(tokenizer)
    for token_id in prompt.token_ids:
        pieces.push(token_id)

    def on_step(step: GenerationStep) -> None:
        text = pieces.push(step.token_id)
        progress.on_token(LiveToken(step.position, step.token_id, text, step.logprob))

    try:
        shared = resident.prefixes.find(model, prompt.token_ids, steering, ranges)
        generation = generate(
            model,
            resident.source.hook,
            prompt.token_ids,
            sampling,
            resident.language.end_ids,
            resident.source.n_context,
            on_step,
            progress.is_cancelled,
            shared,
            session,
        )
        with torch.inference_mode():
            code = _encode(resident, generation)
            readings: tuple[Reading, ...] = ()
            if session is not None:
                begun = shared.readings if shared else ()
                readings = to_readings(session, code, generation.n_shared, begun)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            "The device's memory does not suffice for this run.",
            "Shorten the prompt, or lower max_new_tokens.",
        ) from error
    n_active = (shared.n_active if shared else ()) + count_active(code)
    tokens = to_tokens(
        generation,
        token_texts(tokenizer, list(generation.token_ids)),
        prompt.roles,
        special_ids(tokenizer),
        n_active,
    )
    compute_s = time.perf_counter() - started
    run = _to_run(resident, spec, prompt, generation, tokens, run_key, created_by, compute_s)
    return ComputedRun(
        run=run,
        tokens=tokens,
        activations=to_activations(code, generation.n_shared),
        shared=SharedBeginning(shared.run_key, shared.n_tokens) if shared else None,
        prefix=_to_prefix(generation, run_key, steering, n_active, ranges, readings),
        interventions=to_records(session, readings) if session else (),
    )


def _encode(resident: ResidentSource, generation: Generation) -> SparseCode:
    if resident.sae is None or generation.residual is None:
        return empty_code(len(generation.token_ids) - generation.n_shared)
    return encode(resident.sae, generation.residual)


def _to_session(
    resident: ResidentSource, spec: RunSpec, prompt: Prompt, vectors: Vectors
) -> SteeringSession | None:
    """The steering of one run; None if it is not steered."""
    if not spec.steering.interventions:
        return None
    ready = make_ready(resident.sae, resident.source.hook, spec.steering, vectors)
    n_left_alone = int(begins_with_bos(resident.language.tokenizer, prompt.token_ids))
    member = Member(len(prompt.token_ids), n_left_alone)
    return SteeringSession(ready, [member], is_noted=True)


def _to_prefix(
    generation: Generation,
    run_key: str,
    steering: str,
    n_active: tuple[int, ...],
    ranges: tuple[Range, ...],
    readings: tuple[Reading, ...],
) -> Prefix | None:
    layers = find_layers(generation.cache, len(generation.token_ids))
    if layers is None:
        return None
    return Prefix(
        run_key,
        steering,
        generation.token_ids,
        generation.steps,
        n_active,
        layers,
        ranges,
        readings,
    )


def _to_run(
    resident: ResidentSource,
    spec: RunSpec,
    prompt: Prompt,
    generation: Generation,
    tokens: tuple[Token, ...],
    run_key: str,
    created_by: str,
    compute_s: float,
) -> Run:
    generated = tokens[generation.n_prompt :]
    end_ids = resident.language.end_ids
    response = "".join(token.text for token in generated if token.token_id not in end_ids)
    return Run(
        run_key=run_key,
        source_id=source_id(spec.source),
        source_name=spec.source.name,
        kind=spec.kind,
        prompt=_last_question(spec),
        response=response.strip(),
        messages=spec.messages,
        n_prompt_tokens=len(prompt.token_ids),
        n_generated_tokens=len(generated),
        max_new_tokens=spec.sampling.max_new_tokens,
        temperature=spec.sampling.temperature,
        top_p=spec.sampling.top_p,
        top_k=spec.sampling.top_k,
        seed=spec.sampling.seed,
        tools=bool(spec.tools),
        steering=canonical_json(spec.steering.interventions),
        finish_reason=generation.finish_reason,
        compute_s=compute_s,
        hits=0,
        created_by=created_by,
        created_at=datetime.now(UTC),
    )


def _last_question(spec: RunSpec) -> str:
    asked = [message.content for message in spec.messages if message.role == "user"]
    return asked[-1] if asked else spec.messages[-1].content
