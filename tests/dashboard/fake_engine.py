"""A stand-in for the engine at its public seam: no model, but real runs in the real store.

Prompts choose what happens: `slow ...` runs until the test finishes or cancels it, `fail ...`
fails. Every other prompt is answered at once. A run has three active features on every token.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import numpy as np

from engine.api import Engine, JobFailure, JobView, LiveToken, RunRequest
from engine.asking import Asker
from engine.catalog import Catalog
from engine.confabulation_lab import ConfabulationLab
from engine.errors import JobNotFoundError, UnknownSourceError, WeightsMissingError
from engine.feature_lab import FeatureLab
from engine.hosted import HostedModel
from engine.lab_context import LabContext
from engine.settings import EngineSettings
from engine.steering_lab import SteeringLab
from engine.tasks import Tasks
from store.keys import run_key, source_id
from store.records import Activations, Run, Token
from store.runs import RunRepository
from store.specs import ModelSpec, RunSpec, SourceSpec
from tests.dashboard.fake_weights import FakeWeights

SOURCE = SourceSpec(
    name="demo",
    model=ModelSpec("fake/model", "0" * 40, "float32"),
    sae_id="fake/sae",
    sae_revision="1" * 40,
    hook_name="blocks.1.hook_resid_post",
    layer=1,
    d_in=8,
    d_sae=512,
    architecture="topk",
)
ANSWER = ("Nobody", " plays", " the", " harp", ".")


class FakeEngine(FakeWeights, Engine):
    """Keeps jobs in a dictionary and computes on the caller's thread."""

    def __init__(self, runs: RunRepository) -> None:
        super().__init__()
        self._runs = runs
        self._views: dict[str, JobView] = {}
        self._specs: dict[str, tuple[RunSpec, str]] = {}
        self.n_computed = 0
        self.n_submitted = 0
        self.is_closed = False
        settings = EngineSettings()
        self.tasks = Tasks()
        # the labs are the real ones: they read the store, and find the files of no fake source
        context = LabContext(cast(Asker, self), Catalog(settings), self.tasks, runs.store)
        self.features = FeatureLab(context, settings)
        self.steering = SteeringLab(context)
        self.confabulation = ConfabulationLab(context, HostedModel(settings))

    def submit(self, request: RunRequest) -> JobView:
        """Answers from the store, or at once, or leaves a slow job running."""
        self.n_submitted += 1
        if request.source is not None and request.source not in self.infos:
            raise UnknownSourceError(request.source, tuple(self.infos))
        problem = self.infos[request.source or SOURCE.name].problem
        if problem is not None:
            raise WeightsMissingError(problem, "Download it on the page Models.")
        spec = RunSpec(
            source=SOURCE,
            messages=request.messages,
            kind=request.kind,
            sampling=request.sampling,
            steering=request.steering,
        )
        key = run_key(spec, "fake-1" + str(request.tools))
        job = JobView(
            job_id=f"job{len(self._views)}",
            run_key=key,
            source=SOURCE.name,
            state="running",
            memoized=False,
            shared=False,
            queue_position=0,
            n_prompt_tokens=4,
            n_done=1,
            n_total=request.sampling.max_new_tokens,
            tokens=(LiveToken(4, 7, "Nobody", -0.5),),
            failure=None,
            waited_s=1.0,
        )
        self._views[job.job_id] = job
        self._specs[job.job_id] = (spec, request.created_by)
        text = request.messages[-1].content
        if self._runs.has_run(key):
            self._runs.insert_hit(key, request.created_by)
            self._views[job.job_id] = replace(job, state="done", memoized=True)
        elif text.startswith("fail"):
            failure = JobFailure(
                "DeviceError", "The device is out of memory.", "Use a smaller one."
            )
            self._views[job.job_id] = replace(job, state="failed", failure=failure)
        elif not text.startswith("slow"):
            self.finish(job.job_id)
        return self._views[job.job_id]

    def finish(self, job_id: str) -> None:
        """Computes and stores the run of a job."""
        spec, created_by = self._specs[job_id]
        self.n_computed += 1
        run, tokens, activations = make_run(spec, self._views[job_id].run_key, created_by)
        self._runs.insert_run(SOURCE, run, tokens, activations)
        self._views[job_id] = replace(self._views[job_id], state="done")

    def job(self, job_id: str) -> JobView:
        """The job now."""
        if job_id not in self._views:
            raise JobNotFoundError(job_id)
        return self._views[job_id]

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """Does not wait."""
        return self.job(job_id)

    def cancel(self, job_id: str) -> JobView:
        """Ends an active job."""
        if self.job(job_id).is_active:
            self._views[job_id] = replace(self.job(job_id), state="cancelled")
        return self.job(job_id)

    def close(self) -> None:
        """Notes it."""
        self.tasks.close()
        self.is_closed = True


def make_run(
    spec: RunSpec, key: str, created_by: str = "tester"
) -> tuple[Run, tuple[Token, ...], Activations]:
    """A run with one token a word and three active features on each."""
    is_text = spec.kind == "text"
    pieces = [("<s>", "user", False, True)]
    for message in spec.messages:
        words = message.content.split(" ")
        pieces += [
            (word if index == 0 else f" {word}", message.role, False, False)
            for index, word in enumerate(words)
        ]
    n_prompt = len(pieces)
    if not is_text:
        pieces += [(word, "assistant", True, False) for word in ANSWER]
        pieces.append(("</s>", "assistant", True, True))
    tokens = tuple(
        Token(
            position=position,
            token_id=position + 10,
            text=text,
            role=role,
            is_generated=is_generated,
            is_special=is_special,
            logprob=-0.25 if position else None,
            rank=0 if position else None,
            entropy=0.5 if position else None,
            n_active=3,
        )
        for position, (text, role, is_generated, is_special) in enumerate(pieces)
    )
    positions = np.arange(len(tokens), dtype=np.int32)
    activations = Activations(
        position=np.repeat(positions, 3),
        feature=np.stack([positions % 5, 100 + positions, np.full_like(positions, 500)], 1).ravel(),
        value=np.stack([1 + positions, positions + 0.5, np.full_like(positions, 2)], 1)
        .astype(np.float32)
        .ravel(),
    )
    run = Run(
        run_key=key,
        source_id=source_id(SOURCE),
        source_name=SOURCE.name,
        kind=spec.kind,
        prompt=next(m.content for m in reversed(spec.messages) if m.role == "user"),
        response="" if is_text else "".join(ANSWER),
        messages=spec.messages,
        n_prompt_tokens=n_prompt,
        n_generated_tokens=len(tokens) - n_prompt,
        max_new_tokens=spec.sampling.max_new_tokens,
        temperature=spec.sampling.temperature,
        top_p=spec.sampling.top_p,
        top_k=spec.sampling.top_k,
        seed=spec.sampling.seed,
        tools=bool(spec.tools),
        steering="[]",
        finish_reason="read" if is_text else "stop",
        compute_s=1.75,
        hits=0,
        created_by=created_by,
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    return run, tokens, activations
