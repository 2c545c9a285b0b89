"""Timelines of events: which order makes sense, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Sequence

from kyphos.experiments.tables import Event, FractureEvent, Procedure, TreatEvent


def preload_of(events: Sequence[Event]) -> float:
    """The force under which a timeline is measured, N: the preload of its first treatment, or of any."""
    treatments = [event.procedure for event in events if isinstance(event, TreatEvent)]
    return (treatments[0] if treatments else Procedure()).preload_n


def check_events(events: Sequence[Event], levels: Sequence[str], treated: str) -> None:
    """Refuse an order of events that cannot be; ValueError with one message for the first that is wrong.

    An event names one of the ``levels``. A treatment of the ``treated`` one needs a fracture before it; others may
    have given way in the cycles before, or are treated as a precaution. A second fracture of a level without a
    treatment in between must go further than the first.
    """
    if not events:
        raise ValueError("[[event]] lists nothing; give events of kind fracture, treat or cycle")
    crushed: dict[str, float] = {}  # level -> share of anterior height that a fracture took, 0 once it was treated
    for number, event in enumerate(events):
        where = f"[[event]] item {number} of kind {event.kind!r}"
        if event.level not in levels:
            raise ValueError(f"{where}: level = {event.level!r} is not in levels; allowed: {', '.join(levels)}")
        if isinstance(event, TreatEvent):
            if event.level == treated and treated not in crushed:
                raise ValueError(f"{where}: {treated} is not fractured yet; put an event of kind 'fracture' before it")
            crushed[event.level] = 0.0
        elif isinstance(event, FractureEvent):
            lost = crushed.get(event.level, 0.0)
            if event.anterior_height_loss <= lost:
                raise ValueError(
                    f"{where}: anterior_height_loss = {event.anterior_height_loss:g} has been lost already in the "
                    f"fracture of {event.level} before ({lost:g}); ask for more, or treat in between"
                )
            crushed[event.level] = event.anterior_height_loss
