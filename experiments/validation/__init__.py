"""The validation book: published experiments, our model beside them, misses included.

A row (`rows.toml`) names a published number, by its id in the table of evidence, and what of which protocol answers it.
A protocol is a study run on a population of specimens; several rows read the runs of one protocol.
"""

from ..population import Individual, Population
from .book import Book, run_book, summary, table, write_book
from .evidence import Evidence, read_evidence
from .judge import Finding, judge
from .protocols import PROTOCOLS, Arm, Observables, Protocol, find_protocol
from .rows import Row, find_rows, read_rows
from .running import RESOLUTIONS, Resolution, run_protocol

__all__ = [
    "PROTOCOLS",
    "RESOLUTIONS",
    "Arm",
    "Book",
    "Evidence",
    "Finding",
    "Individual",
    "Observables",
    "Population",
    "Protocol",
    "Resolution",
    "Row",
    "find_protocol",
    "find_rows",
    "judge",
    "read_evidence",
    "read_rows",
    "run_book",
    "run_protocol",
    "summary",
    "table",
    "write_book",
]
