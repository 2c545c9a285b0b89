"""Room ``experiments``: what was asked and what was found. The study file, its stages, the results folder.

The runner is ``kyphos.experiments.run.run_study``; it is not imported here, so that reading a study stays
quick.
"""

if __name__ != "kyphos.experiments":
    raise ImportError("import kyphos.experiments, not experiments: two copies of a class would not match")

from kyphos.experiments.plan import Stage, expand
from kyphos.experiments.progress import Reporter, RichReporter, SilentReporter, Step
from kyphos.experiments.result import Result, load_result
from kyphos.experiments.spec import (
    StudySpec,
    list_protocols,
    protocol_text,
    read_study,
    study_hash,
    to_toml,
)
from kyphos.experiments.store import (
    HISTORY_COLUMNS,
    Checkpoint,
    HistoryRow,
    Outcome,
    RunStore,
    default_folder,
    last_folder,
    open_run,
)

__all__ = [
    "HISTORY_COLUMNS",
    "Checkpoint",
    "HistoryRow",
    "Outcome",
    "Reporter",
    "Result",
    "RichReporter",
    "RunStore",
    "SilentReporter",
    "Stage",
    "Step",
    "StudySpec",
    "default_folder",
    "expand",
    "last_folder",
    "list_protocols",
    "load_result",
    "open_run",
    "protocol_text",
    "read_study",
    "study_hash",
    "to_toml",
]
