"""What the turns of a chat cost: with their common beginning taken over, and computed whole."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.catalog import Catalog, ResolvedSource
from engine.compute import Progress, compute_run
from engine.resident import ResidentSource, load_source
from engine.settings import EngineSettings
from scripts.benchmarks.checkpoints import GPT2_FEATURES, save_random_gpt2_small, save_random_sae
from scripts.benchmarks.figures import Comparison, seconds, to_side
from store.connection import Store
from store.keys import run_key
from store.runs import RunRepository
from store.specs import Message, RunSpec, SamplingSpec

N_TURNS = 20
_N_NEW = 4
_EARLY, _LATE = range(2, 5), range(N_TURNS - 3, N_TURNS)
AIM_GROWTH = 1.5
_TEMPLATE = (
    "{% for m in messages %}{{ '>' if m['role'] == 'user' else '<' }}{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<{% endif %}"
)
_PROGRESS = Progress(lambda _n, _most: None, lambda _token: None, lambda: False)


@dataclass(frozen=True, slots=True)
class _Turn:
    n_tokens: int
    n_new_tokens: int
    elapsed_s: float
    n_stored: int


def measure_chat(work_dir: Path, device: str) -> tuple[tuple[Comparison, ...], dict[str, object]]:
    """Seconds and stored activations of each turn; GPT-2 small, random weights.

    Args:
        work_dir: where the random checkpoint and two stores are kept.
        device: such as `cpu` or `cuda`.
    """
    model, sae = work_dir / "gpt2-chat", work_dir / "gpt2-chat-sae"
    save_random_gpt2_small(model, _TEMPLATE)
    save_random_sae(sae, 768, GPT2_FEATURES, 32, "blocks.6.hook_resid_post")
    settings = EngineSettings(
        mistral_model=str(model), sae_path=str(sae), device=device, _env_file=None
    )
    source = Catalog(settings).resolve(None)
    resident = load_source(source, device)
    _chat(resident, source, work_dir / "warm.duckdb", 2, shares=True)
    shared = _chat(resident, source, work_dir / "shared.duckdb", N_TURNS, shares=True)
    whole = _chat(resident, source, work_dir / "whole.duckdb", N_TURNS, shares=False)
    comparisons = (
        _growth("taken over", shared, has_aim=True),
        _growth("computed whole", whole, has_aim=False),
        Comparison(
            title=f"Last three turns of {N_TURNS}, GPT-2 small, random, {device}",
            sides=(
                to_side("computed whole", _times(whole, _LATE), "s"),
                to_side("taken over", _times(shared, _LATE), "s"),
            ),
            ratio=_median(whole, _LATE) / _median(shared, _LATE),
            ratio_of="whole / taken over",
            aim="above 1",
            is_reached=_median(whole, _LATE) > _median(shared, _LATE),
        ),
        Comparison(
            title=f"Activations that the store keeps of {N_TURNS} turns",
            sides=(
                to_side("each turn whole", [float(whole[-1].n_stored)], "activations"),
                to_side("beginnings shared", [float(shared[-1].n_stored)], "activations"),
            ),
            ratio=whole[-1].n_stored / shared[-1].n_stored,
            ratio_of="whole / shared",
            aim="above 5",
            is_reached=whole[-1].n_stored > 5 * shared[-1].n_stored,
        ),
    )
    turns = [
        {
            "tokens": one.n_tokens,
            "new": one.n_new_tokens,
            "shared_s": one.elapsed_s,
            "whole_s": two.elapsed_s,
        }
        for one, two in zip(shared, whole, strict=True)
    ]
    return comparisons, {"chat": turns}


def _growth(how: str, turns: Sequence[_Turn], has_aim: bool) -> Comparison:
    growth = _median(turns, _LATE) / _median(turns, _EARLY)
    return Comparison(
        title=f"Growth of a turn's cost, its past {how}",
        sides=(
            to_side(f"turns {_EARLY[0] + 1} to {_EARLY[-1] + 1}", _times(turns, _EARLY), "s"),
            to_side(f"turns {_LATE[0] + 1} to {_LATE[-1] + 1}", _times(turns, _LATE), "s"),
        ),
        ratio=growth,
        ratio_of="late / early",
        aim=f"at most {AIM_GROWTH:g}" if has_aim else "",
        is_reached=growth <= AIM_GROWTH or not has_aim,
    )


def _times(turns: Sequence[_Turn], which: range) -> list[float]:
    return [turns[index].elapsed_s for index in which]


def _median(turns: Sequence[_Turn], which: range) -> float:
    return statistics.median(_times(turns, which))


def _chat(
    resident: ResidentSource, source: ResolvedSource, path: Path, n_turns: int, shares: bool
) -> list[_Turn]:
    """Asks turn by turn, each with the chat so far, and stores every turn."""
    store = Store.open(path)
    runs = RunRepository(store)
    resident.prefixes.clear()
    messages: tuple[Message, ...] = ()
    turns: list[_Turn] = []
    try:
        for index in range(n_turns):
            messages = (*messages, Message("user", f"question {index:02d}"))
            spec = RunSpec(
                source=source.spec,
                messages=messages,
                sampling=SamplingSpec(max_new_tokens=_N_NEW),
            )
            if not shares:
                resident.prefixes.clear()
            elapsed_s = seconds(partial(_ask, resident, runs, spec))
            [done] = runs.list_recent_runs(1)
            messages = (*messages, Message("assistant", done.response))
            n_tokens = done.n_prompt_tokens + done.n_generated_tokens
            before = turns[-1].n_tokens if turns else 0
            turns.append(
                _Turn(n_tokens, n_tokens - before, elapsed_s, runs.summarise().n_activations)
            )
    finally:
        store.close()
    return turns


def _ask(resident: ResidentSource, runs: RunRepository, spec: RunSpec) -> None:
    computed = compute_run(resident, spec, run_key(spec, "bench"), "bench", _PROGRESS)
    runs.insert_run(
        spec.source, computed.run, computed.tokens, computed.activations, computed.shared
    )
    if computed.prefix is not None:
        resident.prefixes.keep(computed.prefix)
