"""Published blocks of load cycles by name, for ``protocol`` in ``[[cycling]]`` and in cycle events.

Counts and forces are the papers' (ids are rows of ``docs/evidence.csv``); what a paper does not tell takes the
default of its key, and a study may say otherwise beside the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

ProtocolName = Literal["holyoak-2022", "wilke-2006", "cycles-500"]
FIXED = ("count", "min_n", "max_n")
"""Keys that a protocol fixes."""


@dataclass(frozen=True)
class CyclicProtocol:
    """Blocks of load cycles: (count, valley in N, peak in N) each; where they come from, and what is not known."""

    blocks: tuple[tuple[int, float, float], ...]
    source: str
    flag: Literal["seen", "assumed"]
    note: str


CYCLIC_PROTOCOLS: Mapping[ProtocolName, CyclicProtocol] = {
    "holyoak-2022": CyclicProtocol(
        ((10_000, 100.0, 600.0), (5000, 100.0, 850.0), (5000, 100.0, 1250.0)),
        "A09, A10, A11: Holyoak 2022 Spine J 22:2072",
        "seen",
        "counts and peaks seen; the valley is assumed, the preload of surgery in that paper",
    ),
    "wilke-2006": CyclicProtocol(
        ((100_000, 100.0, 600.0),),
        "A32: Wilke 2006 Spine 31:2934",
        "assumed",
        "paper not read; its load is eccentric, by how much is not known: say it with offset_anterior_mm",
    ),
    "cycles-500": CyclicProtocol(
        ((500, 100.0, 600.0),),
        "A34: a paper with these cycles was searched for and not found",
        "assumed",
        "the short test of the built-in studies",
    ),
}
assert set(CYCLIC_PROTOCOLS) == set(get_args(ProtocolName))
