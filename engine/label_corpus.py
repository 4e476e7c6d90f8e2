"""The corpus that labels are found in, read from the store; and what is known of a toy's words.

Invariant: unsteered runs alone, from all over what is stored, the same ones as long as nothing is
added; at most as many activations as fit into memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from scipy import sparse

from engine.labelling.corpus import Bools, Corpus, make_corpus
from store.connection import Store
from store.run_sets import RunSetRepository
from store.source_samples import SourceSample, SourceSampleRepository

MAX_ACTIVATIONS = 6_000_000
"""What labels are found in: a third of a gigabyte while it is read."""
PAGE_ACTIVATIONS = 2_000_000
"""What is read while a page waits."""
_MEANINGS: Mapping[str, str] = {
    "made_up": "in answers that are made up",
    "wrong": "in answers that are wrong",
    "honest": "in honest answers",
    "abstained": "where it declines to answer",
}
_ROLES: Mapping[str, str] = {
    "system": "in the system's message",
    "user": "in the user's message",
    "tool": "in a tool's result",
}
_WORD = re.compile(r"[A-Z][\w\u2019-]*")


def read_corpus(
    store: Store, source: str, toy_seed: int | None, max_activations: int = MAX_ACTIVATIONS
) -> Corpus:
    """Reads runs of a source into a corpus: seconds, where much is stored.

    Args:
        store: where they are.
        source: name or id.
        toy_seed: of its made-up world, if it has one: people in questions are told apart then.
        max_activations: most that are read.

    Raises:
        StoreError: if nothing of the source is stored.
    """
    sample = SourceSampleRepository(store).get_sample(source, max_activations, where="steered:no")
    of_tokens = {
        "in the answer": sample.is_generated,
        "on marks of the chat format": sample.is_special,
    }
    roles = np.array(sample.roles, dtype=np.str_)
    of_tokens |= {name: (roles == role) & ~sample.is_special for role, name in _ROLES.items()}
    of_runs = _flags_of_runs(store, source, sample)
    if toy_seed is not None:
        of_runs |= _people(sample, toy_seed)
    flags = of_tokens | {name: flag[sample.run] for name, flag in of_runs.items()}
    shape = (len(sample.text_id), sample.d_sae)
    return make_corpus(
        vocabulary=sample.vocabulary,
        text_id=sample.text_id,
        run=sample.run,
        position=sample.position,
        fires=sparse.csr_array((sample.value, sample.feature, sample.starts), shape=shape),
        # a circumstance in which all tokens are, or none, says nothing
        flags={name: flag for name, flag in flags.items() if flag.any() and not flag.all()},
        prompt_of_run=sample.prompts,
        is_own=sample.is_own,
    )


def toy_classes(toy_seed: int | None) -> dict[str, frozenset[str]]:
    """Named sets of words of a made-up world; none for any other source."""
    if toy_seed is None:
        return {}
    from engine.demo.names import FIRST_NAMES, SURNAMES, UNSEEN_SURNAMES
    from engine.demo.world import ATTRIBUTES

    plurals = {"city": "cities"}
    classes = {
        "first names": frozenset(FIRST_NAMES),
        "surnames": frozenset((*SURNAMES, *UNSEEN_SURNAMES)),
    }
    classes["names"] = classes["first names"] | classes["surnames"]
    for attribute in ATTRIBUTES:
        name = plurals.get(attribute.key, f"{attribute.key}s")
        classes[name] = frozenset(attribute.values)
    return classes


def _flags_of_runs(store: Store, source: str, sample: SourceSample) -> dict[str, Bools]:
    """Circumstances of whole runs, [runs] each."""
    flags: dict[str, Bools] = {"with tools offered": sample.tools}
    run_sets = RunSetRepository(store)
    for meaning, name in _MEANINGS.items():
        judged = frozenset(run_sets.list_run_keys(f"verdict:{meaning}", source))
        flags[name] = np.array([run_key in judged for run_key in sample.run_keys], bool)
    return flags


def _people(sample: SourceSample, toy_seed: int) -> dict[str, Bools]:
    """Whom the question of each run is about, by the world that the model was trained on."""
    from engine.demo.world import Person, make_world

    world = make_world(toy_seed)
    obscure = frozenset(world.obscure)
    about: list[str] = []
    for prompt in sample.prompts:
        words = _WORD.findall(prompt.replace("'s", ""))
        people = [Person(first, last) for first, last in pairwise(words)]
        listed = [person for person in people if person.name in world.facts]
        if not listed:
            about.append("")
        elif listed[0] in world.known_set:
            about.append("known")
        else:
            about.append("obscure" if listed[0] in obscure else "unknown")
    kinds = np.array(about, dtype=np.str_)
    return {
        "when asked about a known person": kinds == "known",
        "when asked about an unknown person": kinds == "unknown",
        "when asked about a person it hardly knows": kinds == "obscure",
    }
