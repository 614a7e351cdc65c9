"""The legal form of every table that crosses a stage boundary, and the one home of their column names.

`fabnet.contract` says what a contract is; its functions belong to this package's users too: `tables.read` and
`tables.write` check what they read and write.
"""

from fabnet.contract import CASES, Finding, IllegalTable, Table, check, findings, read, version, write
from fabnet.tables.frames import NO_SPACE, REJECT_REASONS, SPLITS, Boxes, Clips, Index, Ledger, Rejects, Shards, Splits
from fabnet.tables.labels import ANGLE_COLUMNS, EXPRESSIONS, UNIT_COLUMNS, UNITS, Labels
from fabnet.tables.retrieval import IndexRows, Neighbours, RetrievalScores, RetrievedFaces
from fabnet.tables.scores import Curriculum, EmbeddingIds, History, LowLabel, Metrics, Predictions, metrics_frame

__all__ = [
    "ANGLE_COLUMNS",
    "CASES",
    "EXPRESSIONS",
    "NO_SPACE",
    "REJECT_REASONS",
    "SPLITS",
    "UNITS",
    "UNIT_COLUMNS",
    "Boxes",
    "Clips",
    "Curriculum",
    "EmbeddingIds",
    "Finding",
    "History",
    "IllegalTable",
    "Index",
    "IndexRows",
    "Labels",
    "Ledger",
    "LowLabel",
    "Metrics",
    "Neighbours",
    "Predictions",
    "Rejects",
    "RetrievalScores",
    "RetrievedFaces",
    "Shards",
    "Splits",
    "Table",
    "check",
    "findings",
    "metrics_frame",
    "read",
    "version",
    "write",
]
