"""Timelines of events: which order makes sense, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Sequence

from kyphos.experiments.tables import Event, FractureEvent, Procedure, TreatEvent


def preload_of(events: Sequence[Event]) -> float:
    """The force under which a timeline is measured, N: the preload of its first treatment, or of any."""
    treatments = [event.procedure for event in events if isinstance(event, TreatEvent)]
    return (treatments[0] if treatments else Procedure()).preload_n


def check_events(events: Sequence[Event], treated: str) -> None:
    """Refuse an order of events that cannot be; ValueError with one message for the first that is wrong.

    ``treated`` is the level that can be fractured and treated. A treatment needs a fracture before it; a second
    fracture without a treatment in between must go further than the first.
    """
    if not events:
        raise ValueError("[[event]] lists nothing; give events of kind fracture, treat or cycle")
    crushed = 0.0  # share of the anterior height that the last fracture took, since when nothing was restored
    fractured = False
    for number, event in enumerate(events):
        where = f"[[event]] item {number} of kind {event.kind!r}"
        if event.level != treated:
            raise ValueError(
                f"{where}: level = {event.level!r}, but events act on the treated level; allowed: {treated!r}"
            )
        if isinstance(event, TreatEvent):
            if not fractured:
                raise ValueError(f"{where}: {treated} is not fractured yet; put an event of kind 'fracture' before it")
            crushed = 0.0
        elif isinstance(event, FractureEvent):
            if event.anterior_height_loss <= crushed:
                raise ValueError(
                    f"{where}: anterior_height_loss = {event.anterior_height_loss:g} has been lost already in the "
                    f"fracture before ({crushed:g}); ask for more, or treat in between"
                )
            crushed, fractured = event.anterior_height_loss, True
