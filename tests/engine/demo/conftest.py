"""The default world and the committed weights, loaded once."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from engine.demo import MODEL_DIR
from engine.demo.measure import Subject, load_subject
from engine.demo.tokenizer import make_tokenizer
from engine.demo.world import DEFAULT_SEED, World, make_world


@pytest.fixture(scope="session")
def world() -> World:
    """The world of the committed weights."""
    return make_world(DEFAULT_SEED)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A freshly made tokenizer."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def subject(world: World) -> Subject:
    """The committed model."""
    return load_subject(MODEL_DIR, world)
