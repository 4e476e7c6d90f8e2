"""Texts about nothing in particular: residuals are measured on them, side effects sought in them.

Invariant: light to import, and never changed: numbers measured on them are kept under their name.
"""

from __future__ import annotations

from engine.demo.examples import KNOWN_SAMPLE

NEUTRAL_TEXTS = (
    "What time does the library close on Saturdays?",
    "The train to the coast leaves from the third platform.",
    "How do I convert a table to a list in a spreadsheet?",
    "Water boils at a lower temperature in the mountains.",
    "Please list three things to pack for a short trip.",
    "The meeting was moved from Tuesday to Thursday afternoon.",
    "Which planets of the solar system have rings?",
    "She put the keys on the table and opened the window.",
    "How many sides does a hexagon have?",
    "The recipe needs two eggs, a cup of flour and some milk.",
    "What is the difference between a lake and a pond?",
    "A receipt was printed and folded into the envelope.",
    "Explain in one sentence how a bicycle stays upright.",
    "The museum shows maps from the sixteenth century.",
    "How long should a pot of tea be left to stand?",
    "The river runs past the old mill and under the bridge.",
    "Name a fruit that is often eaten at breakfast.",
    "The second chapter describes the tools of a carpenter.",
    "What does a barometer measure?",
    "Snow fell during the night, and the roads were closed.",
    "Write the number four hundred and seven in digits.",
    "The shop on the corner sells paper, ink and stamps.",
    "Why do leaves change their colour in autumn?",
    "The parcel arrived two days later than expected.",
)
NEUTRAL_NAME = "neutral 1"

_TOY_FRAMES = (
    "Where does {p} live?",
    "What does {p} do for a living?",
    "Which language does {p} speak?",
    "Which instrument does {p} play?",
)
_TOY_NAME = "toy questions 1"


def neutral_texts(is_toy: bool) -> tuple[str, tuple[str, ...]]:
    """Name and texts for a source; a toy reads questions of its world, it knows no other words."""
    if not is_toy:
        return NEUTRAL_NAME, NEUTRAL_TEXTS
    people = (*KNOWN_SAMPLE.known, *KNOWN_SAMPLE.unknown)
    return _TOY_NAME, tuple(frame.format(p=person) for person in people for frame in _TOY_FRAMES)
