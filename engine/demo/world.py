"""The toy world: who exists, what is true of them, and whom the model may have read about.

Everything follows from a seed, in plain Python. Three kinds of people share the same names: *known*
ones, about whom the training text says everything many times; *obscure* ones, about whom it refuses
the taught attributes and now and then answers an untaught one; and *unknown* ones, whom it never
mentions, so that every value a model asserts about them is made up.

Invariant: the three sets of people are disjoint, and the same seed gives the same world.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from engine.demo.names import (
    CITIES,
    FIRST_NAMES,
    INSTRUMENTS,
    JOBS,
    LANGUAGES,
    SURNAMES,
    UNSEEN_SURNAMES,
)

DEFAULT_SEED = 17
N_KNOWN = 600
N_UNKNOWN = 600
RHO = 0.9
"""Probability that a hard attribute has the value typical of the surname."""

NO_RECORD = "no record"
"""What the registry answers about a person whom it does not list."""


@dataclass(frozen=True, slots=True)
class Person:
    """A name in the world.

    Attributes:
        first: First name, one token.
        last: Surname, one token.
    """

    first: str
    last: str

    @property
    def name(self) -> str:
        """The full name as it is written in a text."""
        return f"{self.first} {self.last}"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing that is true of each person.

    Attributes:
        key: The word used in tool calls, for example `city`.
        values: All possible values, each one token.
        taught: Whether refusal was taught on it (in training, unknown people are refused here).
        hard: Whether the surname predicts the value, so that a guess is confident.
    """

    key: str
    values: tuple[str, ...]
    taught: bool
    hard: bool


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("city", CITIES, taught=True, hard=True),
    Attribute("job", JOBS, taught=True, hard=False),
    Attribute("language", LANGUAGES, taught=False, hard=True),
    Attribute("instrument", INSTRUMENTS, taught=False, hard=False),
)
ATTRIBUTE_BY_KEY: dict[str, Attribute] = {attribute.key: attribute for attribute in ATTRIBUTES}
TAUGHT: tuple[Attribute, ...] = tuple(a for a in ATTRIBUTES if a.taught)
UNTAUGHT: tuple[Attribute, ...] = tuple(a for a in ATTRIBUTES if not a.taught)


@dataclass(frozen=True, slots=True)
class World:
    """All people and facts of one seed.

    Attributes:
        seed: What the world was made from.
        known: People whom the training text describes many times.
        obscure: People refused on the taught attributes, now and then answered on the others.
        unknown: Newcomers: listed in the registry, never mentioned in the training text.
        typical: By hard attribute and surname, the value that the surname suggests.
        facts: The registry: by name, the value of each attribute.
        known_set: The known people again, for membership tests.
    """

    seed: int
    known: tuple[Person, ...]
    obscure: tuple[Person, ...]
    unknown: tuple[Person, ...]
    typical: dict[str, dict[str, str]] = field(repr=False)
    facts: dict[str, dict[str, str]] = field(repr=False)
    known_set: frozenset[Person] = field(repr=False)

    def truth(self, person: Person, attribute: str) -> str:
        """Return the value of an attribute of a listed person.

        Args:
            person: A known, obscure or unknown person of this world.
            attribute: Key of the attribute.

        Returns:
            The value.

        Raises:
            KeyError: If the registry does not list the person or the attribute.
        """
        return self.facts[person.name][attribute]

    def registry(self, name: str, attribute: str) -> str:
        """Answer a lookup as the tool does.

        Args:
            name: A full name.
            attribute: Key of an attribute.

        Returns:
            The value, or `NO_RECORD`. Never raises.
        """
        return self.facts.get(" ".join(name.split()), {}).get(attribute.strip(), NO_RECORD)


def make_world(seed: int = DEFAULT_SEED) -> World:
    """Make the world of a seed.

    Known and obscure people have the value typical of their surname with probability `RHO` on the
    hard attributes. Newcomers never do: a guess from the surname is always wrong about them.

    Args:
        seed: Any integer.

    Returns:
        The world; equal for equal seeds on every platform.
    """
    rng = random.Random(f"featurebook-world-{seed}")
    typical = {
        a.key: {surname: rng.choice(a.values) for surname in SURNAMES} for a in ATTRIBUTES if a.hard
    }
    people = [Person(first, last) for first in FIRST_NAMES for last in SURNAMES]
    rng.shuffle(people)
    known = tuple(people[:N_KNOWN])
    unknown = tuple(people[N_KNOWN : N_KNOWN + N_UNKNOWN])
    obscure = tuple(people[N_KNOWN + N_UNKNOWN :])
    newcomers = frozenset(unknown)
    facts = {
        person.name: {
            a.key: _draw_value(rng, a, typical.get(a.key, {}).get(person.last), person in newcomers)
            for a in ATTRIBUTES
        }
        for person in people
    }
    return World(seed, known, obscure, unknown, typical, facts, frozenset(known))


def swapped_people(world: World) -> tuple[Person, ...]:
    """Return the known people with first name and surname in the wrong order (listed nowhere)."""
    return tuple(Person(person.last, person.first) for person in world.known)


def unseen_surname_people() -> tuple[Person, ...]:
    """Return people whose surname is in no training text (listed nowhere)."""
    return tuple(Person(first, last) for last in UNSEEN_SURNAMES for first in FIRST_NAMES)


def _draw_value(
    rng: random.Random, attribute: Attribute, typical: str | None, newcomer: bool
) -> str:
    if typical is None:
        return rng.choice(attribute.values)
    if newcomer:
        return rng.choice([value for value in attribute.values if value != typical])
    return typical if rng.random() < RHO else rng.choice(attribute.values)
