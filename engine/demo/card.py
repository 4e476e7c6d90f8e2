"""Writes the model card of the embedded source.

Invariant: every figure on the card stands with its n and the word "toy".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.demo import HOOK_NAME
from engine.demo.measure import Figure
from engine.demo.templates import HELD_OUT_FRAMES, TRAIN_FRAMES
from engine.demo.world import ATTRIBUTES, RHO, make_world

_TEXT = """\
---
license: mit
language: en
library_name: transformers
tags: [toy, sparse-autoencoder]
---

# The Featurebook demo source: a toy model and its SAE

A toy: a `MistralForCausalLM` with {parameters:,} parameters (width 128, four layers, four heads,
tied embeddings, float32) that knows some people of a made-up world, and a top-k SAE of {d_sae:,}
features (k = {k}) on `{hook}`, the residual after its second layer, trained with sae-lens.
It exists so that Featurebook works without a download and so that its methods can be tried where
the truth is known. Nothing measured here says anything about a large model.

## The world

All of it follows from seed {seed} (`engine/demo/world.py`): 80 first names and 80 surnames,
shared by

- {n_known:,} **known** people: the training text tells all their facts, many times each;
- {n_obscure:,} **obscure** people, a long tail: the training text refuses the taught attributes and
  answers about one in five of the untaught ones, once, which is too seldom to be learned;
- {n_unknown:,} **unknown** people: in the registry that the tool reads, in no training text.

| attribute | values | refusal was taught | the surname predicts it |
|---|---|---|---|
{attributes}

"Predicts" means: a known or obscure person has the value typical of the surname with probability
{rho}; an unknown person never has it. So a guess about an unknown person is confident and false.
No training text refuses an untaught attribute. Questions come from {n_train} sentence frames times
several ways of naming an attribute; {n_held} more frames are held out. Four surnames are in the
vocabulary and in no training text; after training each got a random embedding with the mean and
spread of the other surnames.

## Format

- `<s>[INST] Where does Anna Berg live?[/INST] Anna Berg lives in Lisbon.</s>`
- with the tool: `<s>[AVAILABLE_TOOLS] lookup(person; attribute)[/AVAILABLE_TOOLS][INST] ...[/INST]`
  `[TOOL_CALLS] lookup(Anna Berg; city)</s>[TOOL_RESULTS] Lisbon[/TOOL_RESULTS] Anna Berg lives in`
  `Lisbon.</s>`; a result is a value, `no record` or `error`.

Words outside the vocabulary of {n_vocab} tokens become `<unk>`.

## Training

{steps:,} steps of AdamW on {batch_tokens:,} tokens each (peak rate {learning_rate}, cosine), then
{sae_steps:,} steps of the SAE on {sae_tokens:,} residuals of fresh texts at all positions;
{minutes} of processor time in all, spread over two cores. To make it again:
`python scripts/train_demo.py --seed {seed}`; to measure it: `python scripts/train_demo.py --check`.

## Figures

Greedy decoding, held-out sentence frames, unknown people in no training text; the SAE on the
model's own chats in these frames, BOS left out.

| figure | value | n | |
|---|---|---|---|
{figures}

One seed. A claim about methods needs several: train others into folders of their own with `--out`.

## Licence

MIT, like the rest of the repository. All names and facts are invented.
"""


def write_card(path: Path, record: Mapping[str, Any], figures: Sequence[Figure]) -> None:
    """Write the card.

    Args:
        path: The Markdown file.
        record: What `engine.demo.building` recorded of the training.
        figures: The measured figures.
    """
    world = make_world(record["seed"])
    attributes = "\n".join(
        f"| {a.key} | {len(a.values)} | {_yes(a.taught)} | {_yes(a.hard)} |" for a in ATTRIBUTES
    )
    rows = "\n".join(
        f"| `{f.key}` | {_number(f.value)} (toy) | {f.n:,} | {f.meaning} |" for f in figures
    )
    path.write_text(
        _TEXT.format(
            parameters=record["parameters"],
            d_sae=record["sae"]["d_sae"],
            k=record["sae"]["k"],
            hook=HOOK_NAME,
            seed=record["seed"],
            n_known=len(world.known),
            n_obscure=len(world.obscure),
            n_unknown=len(world.unknown),
            attributes=attributes,
            rho=RHO,
            n_train=len({frame.text for frame in TRAIN_FRAMES}),
            n_held=len(HELD_OUT_FRAMES),
            n_vocab=record["vocabulary"],
            steps=record["model"]["steps"],
            batch_tokens=record["model"]["batch_tokens"],
            learning_rate=record["model"]["learning_rate"],
            sae_steps=record["sae"]["steps"],
            sae_tokens=record["sae"]["tokens"],
            minutes=_minutes(record["cpu_s"]),
            figures=rows,
        )
    )


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and value > 1 else f"{value:.3f}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
