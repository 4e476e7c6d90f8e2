"""A small store in which it is known what every feature fires on, and the same as plain lists."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from store.records import Activations, SharedBeginning, TokenColumns, WholeRun
from store.runs import RunRepository
from store.specs import SourceSpec
from tests.store.samples import SOURCE, make_run

D_SAE = 24
PLANTED = replace(SOURCE, name="planted", d_sae=D_SAE, max_active=3)
WORDS = ("the", "a", "born", "in", "Rome", "Oslo", "was", "who", "bird", "sea")

FIRST, DENSE, BORN, IN_ROME, PAIR, FOLLOWER, ANSWER, SILENT = 0, 1, 2, 3, 4, 5, 6, 23
"""Fires on first tokens; on every third token; on born; on Rome after in; on sea; with PAIR; on
generated tokens that are a; never."""

N_RUNS = 40
N_TOKENS = 70
N_PROMPT = 30
Row = tuple[int, int, int, float]
"""Run index, position, feature, value."""


@dataclass(frozen=True, slots=True)
class Planted:
    """Runs, and what is stored of them."""

    runs: tuple[WholeRun, ...]
    texts: tuple[tuple[str, ...], ...]
    own: tuple[Row, ...]
    """Each activation once, by the run that computed it."""

    def run_key(self, index: int) -> str:
        return self.runs[index].run.run_key

    def index(self, run_key: str) -> int:
        return int(run_key, 16)

    def of_run(self, index: int) -> list[Row]:
        """All activations of a run, its beginning's included."""
        shared = self.runs[index].shared
        rows = [row for row in self.own if row[0] == index]
        if shared is not None:
            owner = self.index(shared.run_key)
            rows += [
                (index, *row[1:])
                for row in self.own
                if row[0] == owner and row[1] < shared.n_tokens
            ]
        return rows

    def own_places(self) -> list[tuple[int, int]]:
        """Tokens whose activations are their run's own."""
        return [
            (index, position)
            for index, item in enumerate(self.runs)
            for position in range(item.shared.n_tokens if item.shared else 0, N_TOKENS)
        ]


def make_planted(seed: int = 0, source: SourceSpec = PLANTED) -> Planted:
    """The same for the same seed; runs 37 to 39 begin as run 0 does."""
    random = np.random.default_rng(seed)
    runs: list[WholeRun] = []
    texts: list[tuple[str, ...]] = []
    own: list[Row] = []
    for index in range(N_RUNS):
        words = random.choice(len(WORDS), N_TOKENS).tolist()
        n_shared = 20 if index >= N_RUNS - 3 else 0
        if n_shared:
            words[:n_shared] = [WORDS.index(text.strip()) for text in texts[0][:n_shared]]
        text = tuple(f" {WORDS[word]}" for word in words)
        rows = [
            (index, position, feature, float(np.float32(value)))
            for position in range(n_shared, N_TOKENS)
            for feature, value in _fired(text, position, random)
        ]
        activations = Activations(
            np.array([row[1] for row in rows], np.int32),
            np.array([row[2] for row in rows], np.int32),
            np.array([row[3] for row in rows], np.float32),
        )
        half = np.arange(N_TOKENS) >= N_PROMPT
        tokens = TokenColumns(
            token_id=np.array(words, np.int32),
            text=text,
            role=["user"] * N_PROMPT + ["assistant"] * (N_TOKENS - N_PROMPT),
            is_generated=half,
            is_special=np.arange(N_TOKENS) == 0,
            logprob=np.full(N_TOKENS, -1.0),
            rank=np.zeros(N_TOKENS, np.int32),
            entropy=np.ones(N_TOKENS),
            n_active=np.full(N_TOKENS, 3 + index % 2, np.int32),
        )
        run = replace(
            make_run(index, N_TOKENS, source),
            n_prompt_tokens=N_PROMPT,
            n_generated_tokens=N_TOKENS - N_PROMPT,
            tools=index % 2 == 1,
        )
        shared = SharedBeginning(make_run(0).run_key, n_shared) if n_shared else None
        runs.append(WholeRun(run, tokens, activations, shared))
        texts.append(text)
        own += rows
    return Planted(tuple(runs), tuple(texts), tuple(own))


def insert_planted(runs: RunRepository, planted: Planted, source: SourceSpec = PLANTED) -> None:
    """In three writes, so that there are several segments."""
    for part in (planted.runs[:10], planted.runs[10:30], planted.runs[30:]):
        runs.insert_runs(source, part)


def _fired(
    text: tuple[str, ...], position: int, random: np.random.Generator
) -> list[tuple[int, float]]:
    word = text[position].strip()
    fired = []
    if position == 0:
        fired.append(FIRST)
    elif position % 3 == 0:
        fired.append(DENSE)
    if word == "born":
        fired.append(BORN)
    if word == "Rome" and position and text[position - 1].strip() == "in":
        fired.append(IN_ROME)
    if word == "sea":
        fired.append(PAIR)
        if random.random() < 0.8:
            fired.append(FOLLOWER)
    if word == "a" and position >= N_PROMPT:
        fired.append(ANSWER)
    rest = int(random.integers(7, SILENT))
    return [(feature, 0.1 + 4 * random.random()) for feature in [*fired[:2], rest]]
