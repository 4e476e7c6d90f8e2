"""A corpus of made-up sentences with features whose meaning is known."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from engine.labelling.corpus import Corpus, make_corpus

NAMES = [f" Name{index}" for index in range(30)]
VERBS = [" lives", " works", " plays"]
FILLERS = [" in", " the", " city", " of", " and", "."]
N_RUNS = 400
TOKEN, PAIR, FLAG, TOKEN_FLAG, NOISE, SELDOM, ALWAYS, HALF = range(8)
"""Features: fire on names; on ` the` after ` in`; in the answer; on names in the answer; anywhere;
on two tokens in all; on every token; on half of all ` the`, whatever stands around."""
N_FEATURES = 8


def make_sentences(seed: int = 0, n_runs: int = N_RUNS) -> Corpus:
    """Runs of a question and an answer; each answer repeats the question's name."""
    generator = np.random.default_rng(seed)
    vocabulary = (*NAMES, *VERBS, *FILLERS)
    ids = {text: number for number, text in enumerate(vocabulary)}
    text_id: list[int] = []
    run: list[int] = []
    position: list[int] = []
    answer: list[bool] = []
    prompts: list[str] = []
    for number in range(n_runs):
        name, verb = generator.choice(NAMES), generator.choice(VERBS)
        middle = generator.choice(FILLERS, 4)
        question = [" of" if generator.random() < 0.5 else " the", name, verb, *middle]
        reply = [name, verb, " in", " the", *generator.choice(FILLERS, 3), " the", name, "."]
        texts = [*question, *reply]
        text_id += [ids[str(text)] for text in texts]
        run += [number] * len(texts)
        position += range(len(texts))
        answer += [False] * len(question) + [True] * len(reply)
        prompts.append("".join(question))
    texts = [vocabulary[number] for number in text_id]
    starts = np.array(position) == 0
    before = np.array(["", *texts[:-1]])
    before[starts] = ""
    is_name = np.array([text in NAMES for text in texts])
    in_answer = np.array(answer)
    fires = np.zeros((len(texts), N_FEATURES))
    fires[:, TOKEN] = is_name
    fires[:, PAIR] = (np.array(texts) == " the") & (before == " in")
    fires[:, FLAG] = in_answer
    fires[:, TOKEN_FLAG] = is_name & in_answer
    fires[:, NOISE] = generator.random(len(texts)) < 0.1
    fires[:2, SELDOM] = 1
    fires[:, ALWAYS] = 1
    fires[:, HALF] = (np.array(texts) == " the") & (generator.random(len(texts)) < 0.5)
    fires *= generator.gamma(4.0, 0.5, fires.shape)
    return make_corpus(
        vocabulary,
        np.array(text_id, np.int32),
        np.array(run, np.int32),
        np.array(position, np.int32),
        sparse.csr_array(fires.astype(np.float32)),
        {"in the answer": in_answer, "with tools": np.array(run) % 3 == 0},
        prompts,
    )
