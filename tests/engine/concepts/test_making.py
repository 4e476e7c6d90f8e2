"""Vectors made by a real model against residuals computed without any of our code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.api import Engine, PairsError, RunRequest, TaskView
from engine.concepts.pairs import Pair, PairSet
from engine.errors import RequestError, SourceMismatchError, UnknownSourceError
from store.errors import VectorNotFoundError
from store.specs import Message
from store.vectors import VectorRepository
from tests.engine.conftest import Bench

WORDS = "the cat sat on a mat and then it ran away from dogs".split()
PAIRS = tuple(
    Pair(
        f"{WORDS[n % 12]} {WORDS[(n * 5 + 1) % 12]} glad", f"{WORDS[n % 12]} {WORDS[(n * 7) % 12]}"
    )
    for n in range(20)
)
SET = PairSet("glad", PAIRS, ("{text}", "he said {text} now"))


def _done(engine: Engine, task: TaskView) -> TaskView:
    view = engine.tasks.wait(task.task_id, 120)
    assert view.failure is None, view.failure
    assert view.state == "done"
    return view


@pytest.fixture
def bench(make_bench: Callable[..., Bench], checkpoints: Path) -> Bench:
    return make_bench(checkpoints / "llama", checkpoints / "sae-topk")


def _means(folder: Path, pairs: PairSet, layer: int) -> np.ndarray:
    """Difference of means by transformers alone, text by text, without batches."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sides = []
    for side in ("positive", "negative"):
        rows = []
        for pair in pairs.pairs:
            for template in pairs.templates:
                before, _ = template.split("{text}")
                ids = tokenizer(template.replace("{text}", getattr(pair, side)))["input_ids"]
                start = tokenizer(before)["input_ids"] if before else tokenizer("")["input_ids"]
                n_before = next(
                    (n for n, (a, b) in enumerate(zip(start, ids, strict=False)) if a != b),
                    len(start),
                )
                with torch.no_grad():
                    out = model(torch.tensor([ids]), output_hidden_states=True)
                hidden = out.hidden_states[layer + 1][0].float().numpy()
                rows.append(hidden[n_before:].mean(axis=0))
        sides.append(np.mean(rows, axis=0))
    return np.asarray(sides[0] - sides[1])


def test_a_vector_is_the_difference_of_means_of_every_text_in_every_template(
    bench: Bench, checkpoints: Path
) -> None:
    lab = bench.engine.steering
    view = _done(bench.engine, lab.make_vectors("custom", SET, "me", layers=[0, 1]))
    assert view.result["n_vectors"] == 2
    found = {vector.layer: vector for vector in lab.vectors("custom", "glad")}
    assert found.keys() == {0, 1}
    expected = _means(checkpoints / "llama", SET, 1)
    values = VectorRepository(bench.store).get_values(found[1].vector_id)
    assert np.allclose(values, expected, atol=1e-4)
    assert found[1].norm == pytest.approx(float(np.linalg.norm(expected)), rel=1e-3)
    assert found[1].n_pairs == 20
    content = json.loads(found[1].content)
    assert content["templates"] == list(SET.templates)
    assert len(content["pairs"]) == 20
    rows = lab.layer_profile("custom", "glad")
    assert [row.layer for row in rows] == [0, 1]
    assert rows[1].reliability == pytest.approx(found[1].reliability)
    assert all(0 <= row.separation <= 1 for row in rows)


def test_what_is_made_is_not_made_again(bench: Bench) -> None:
    lab = bench.engine.steering
    _done(bench.engine, lab.make_vectors("custom", SET, "me", layers=[1]))
    bench.engine.unload()
    again = _done(bench.engine, lab.make_vectors("custom", SET, "you", layers=[1]))
    assert again.n_total == 0  # no text was read
    [vector] = lab.vectors("custom", "glad")
    assert vector.created_by == "me"
    other = PairSet("glad", PAIRS[::-1], SET.templates[:1])
    _done(bench.engine, lab.make_vectors("custom", other, "you", layers=[1]))
    assert len(lab.vectors("custom", "glad")) == 2


def test_cohorts_of_runs_are_read_token_by_token(bench: Bench) -> None:
    engine, lab = bench.engine, bench.engine.steering
    keys: list[list[str]] = [[], []]
    for side in (0, 1):
        for n in range(20):
            text = f"{WORDS[n % 12]} {n} cat"
            if side:
                text += " dog"
            view = engine.submit(RunRequest((Message("user", text),), "custom", kind="text"))
            keys[side].append(engine.wait(view.job_id).run_key)
    task = lab.make_vectors_of_runs(
        "custom", "dogs", " ".join(keys[1]), ",".join(keys[0]), "me", "all", layers=[1]
    )
    assert _done(engine, task).result["n_vectors"] == 1
    [vector] = lab.vectors("custom", "dogs")
    assert json.loads(vector.content)["runs"] == [keys[1], keys[0]]
    by_filter = lab.make_vectors_of_runs(
        "custom", "dogs too", 'prompt:"dog"', 'NOT prompt:"dog"', "me", "last_prompt", layers=[1]
    )
    _done(engine, by_filter)
    assert len(lab.vectors("custom", "dogs too")) == 1
    few = engine.tasks.wait(
        lab.make_vectors_of_runs("custom", "few", keys[0][0], keys[1][0], "me").task_id
    )
    assert few.failure is not None
    assert "at least 20" in few.failure.message


def test_what_cannot_be_made_says_why(bench: Bench) -> None:
    engine, lab = bench.engine, bench.engine.steering
    with pytest.raises(UnknownSourceError):
        lab.make_vectors("nope", SET, "me")
    with pytest.raises(PairsError, match="at least 20"):
        lab.make_vectors("custom", PairSet("few", PAIRS[:3]), "me")
    with pytest.raises(PairsError, match="no concept"):
        lab.library_pairs("custom", "sleepy")
    same = PairSet("same", tuple(Pair(pair.positive, pair.positive) for pair in PAIRS))
    view = engine.tasks.wait(lab.make_vectors("custom", same, "me").task_id)
    assert view.failure is not None
    assert "cancel" in view.failure.message
    view = engine.tasks.wait(lab.make_vectors("custom", SET, "me", layers=[99]).task_id)
    assert view.failure is not None
    assert "no layer 99" in view.failure.message
    assert lab.vectors("custom") == ()


def test_the_library_is_prepared_once(bench: Bench) -> None:
    lab = bench.engine.steering
    names = [concept.name for concept in lab.concepts("custom")]
    assert names[:3] == ["happy", "sad", "angry"]
    assert len(names) == 16
    task = lab.prepare_library("custom", "me", ["happy", "brief"], layers=[0])
    assert _done(bench.engine, task).result == {"n_concepts": 2, "n_vectors": 2}
    ready = {concept.name: concept.n_vectors for concept in lab.concepts("custom")}
    assert (ready["happy"], ready["brief"], ready["sad"]) == (1, 1, 0)


def test_vectors_leave_and_come_back(bench: Bench) -> None:
    lab = bench.engine.steering
    _done(bench.engine, lab.make_vectors("custom", SET, "me", layers=[0, 1]))
    made = {vector.layer: vector for vector in lab.vectors("custom", "glad")}
    ids = [made[0].vector_id, made[1].vector_id]
    tensors, metadata = lab.export_vectors(ids)
    # equal values on the same layer are the same vector
    back = lab.import_vectors("custom", tensors.data, tensors.name, "me", metadata.data)
    assert [vector.vector_id for vector in back] == ids
    [gguf] = lab.export_vectors(ids, "gguf")
    assert [item.vector_id for item in lab.import_vectors("custom", gguf.data, "g", "me")] == [
        ids[1]
    ]
    assert lab.overlap([ids[1], ids[1]])[0][1] == pytest.approx(1.0)
    with pytest.raises(RequestError, match="different layers"):
        lab.combine(ids, [1.0, 1.0], "both", "me")
    mixed = lab.combine([ids[1]], [2.0], "half", "me", budget=0.5)
    assert mixed.norm == pytest.approx(0.5, rel=1e-4)
    with pytest.raises(VectorNotFoundError):
        lab.overlap(["0" * 20])
    assert lab.delete_vector(ids[0])
    assert not lab.delete_vector(ids[0])


def test_vectors_of_another_width_or_depth_are_refused(bench: Bench) -> None:
    lab = bench.engine.steering
    with pytest.raises(SourceMismatchError, match="wide"):
        lab.import_vectors("demo", _file(bench), "x.safetensors", "me")
    deep = _file(bench).replace(b"layer.1", b"layer.9")
    with pytest.raises(SourceMismatchError, match="layer 9"):
        lab.import_vectors("custom", deep, "x.safetensors", "me")


def _file(bench: Bench) -> bytes:
    lab = bench.engine.steering
    _done(bench.engine, lab.make_vectors("custom", SET, "me", layers=[1]))
    [vector] = lab.vectors("custom", "glad")
    return lab.export_vectors([vector.vector_id])[0].data
