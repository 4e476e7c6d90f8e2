"""What all parts of the page about made-up answers share: the source, the set, what is stored.

Invariant: read once a drawing, from the store alone; nothing here draws.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.links import ViewState
from dashboard.services import Services
from engine.api import DetectorCard, Evaluation, OutcomeCounts, SourceInfo
from engine.errors import EngineError
from store.question_records import QuestionSet


@dataclass(frozen=True, slots=True)
class PageData:
    """Source and set of the page, and what is stored of them.

    Attributes:
        source_id: None where nothing tells which source is meant.
        kept: the set; None while it has not been made.
        counts: outcomes with tools off and on, as far as asked.
        cards: detectors of the set, the newest evaluation first, retired ones too.
        evaluation: that the link means, or the newest one.
    """

    services: Services
    state: ViewState
    source: SourceInfo
    source_id: str | None
    kept: QuestionSet | None
    counts: tuple[OutcomeCounts, ...]
    cards: tuple[DetectorCard, ...]
    evaluation: Evaluation | None

    @property
    def toy(self) -> str:
        """What stands beside the numbers of a toy."""
        return " (toy)" if self.source.is_toy else ""

    @property
    def n_answers(self) -> int:
        """Answers that are stored."""
        return sum(item.n_answers for item in self.counts)

    @property
    def stored(self) -> tuple[QuestionSet, str]:
        """The set and the source's id, where answers are stored.

        Raises:
            EngineError: if they are not; callers draw this only where they are.
        """
        if self.kept is None or self.source_id is None:
            raise EngineError("Nothing is stored of this set yet.", "Ask its questions first.")
        return self.kept, self.source_id


def read_page(
    services: Services, state: ViewState, source: SourceInfo, kept: QuestionSet | None
) -> PageData:
    """Reads what is stored of a set and a source."""
    lab = services.engine.confabulation
    source_id = _find_source_id(services, source.name)
    counts: tuple[OutcomeCounts, ...] = ()
    cards: tuple[DetectorCard, ...] = ()
    if kept is not None and source_id is not None:
        counts = lab.count_outcomes(kept.set_id, source.name)
        found = lab.detectors.list_detectors(source_id, with_retired=True) if counts else ()
        cards = tuple(card for card in found if card.set_name in (kept.name, kept.set_id))
    evaluation_id = _evaluation_id(cards, state.detector)
    evaluation = services.find_evaluation(evaluation_id) if evaluation_id else None
    return PageData(services, state, source, source_id, kept, counts, cards, evaluation)


def _find_source_id(services: Services, name: str) -> str | None:
    try:
        return services.engine.confabulation.source_id(name)
    except EngineError:
        return None


def _evaluation_id(cards: tuple[DetectorCard, ...], detector_id: str | None) -> str | None:
    """Of the link's detector, else the newest."""
    wanted = [card for card in cards if card.detector_id == detector_id]
    return next((card.evaluation_id for card in (*wanted, *cards)), None)
