"""The numbers that the paper printed: O. Wiles, A. S. Koepke, A. Zisserman, "Self-supervised learning of a facial
attribute embedding from video", BMVC 2018, tables 1 to 4, in their order. Those of other authors are as quoted there.

Errors of landmarks are percent of the inter-ocular distance, angles mean absolute errors in degrees, areas under the
ROC curve in percent. None stands where the paper prints a dash.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PAPER = "Wiles et al. 2018"

#: Rows of the tables by our names of the encoders that they correspond to.
FABNET, CURRICULUM, THREE_SOURCES = "FAb-Net", "FAb-Net w/ curriculum", "FAb-Net w/ curriculum, 3 source frames"
ROTATION, SPLIT_BRAIN, AUTOENCODER = "Gidaris et al. (rotation)", "SplitBrain", "Autoencoder"
VGG_FACE, VGG_11 = "VGG-Face descriptor", "VGG-11 (from scratch)"
ROW_OF = {
    "fabnet": FABNET,
    "fabnet_curriculum": CURRICULUM,
    "fabnet_curriculum_3src": THREE_SOURCES,
    "rotation": ROTATION,
    "split_brain": SPLIT_BRAIN,
    "autoencoder": AUTOENCODER,
    "vgg_face": VGG_FACE,
    "vgg11": VGG_11,
}


@dataclass(frozen=True)
class Row:
    """A printed row: the method, how it was trained, its numbers by column, and whose numbers they are."""

    method: str
    trained: str
    numbers: tuple[float | None, ...]
    source: str = PAPER


@dataclass(frozen=True)
class PaperTable:
    """A printed table.

    Attributes:
        columns: as printed.
        data: the set that each column was measured on.
        faces: how many test faces the paper says there are, by column; None where it does not say.
        digits: behind the point.
    """

    number: int
    caption: str
    columns: tuple[str, ...]
    data: tuple[str, ...]
    faces: tuple[int | None, ...]
    digits: int
    rows: tuple[Row, ...]


_VOXCELEB = "self-supervised, on VoxCeleb+"
_CELEBA = "self-supervised, on CelebA"
_LABELS = "supervised"
_LABELS_CELEBA = "supervised, on CelebA"


def _quoted(number: int, whose: str) -> str:
    return f"{whose}, quoted in {PAPER}, Table {number}"


TABLE_1 = PaperTable(
    1,
    "Landmark prediction error on 300-W and MAFL, % of the inter-ocular distance. Lower is better.",
    ("300-W", "MAFL"),
    ("300-W", "MAFL"),
    (689, 1000),
    2,
    (
        Row(FABNET, _VOXCELEB, (6.31, 3.78)),
        Row(CURRICULUM, _VOXCELEB, (5.73, 3.49)),
        Row(THREE_SOURCES, _VOXCELEB, (5.71, 3.44)),
        Row("Jakab et al. (2018)", _CELEBA, (None, 3.08), _quoted(1, "[21]")),
        Row("Zhang et al. (2018)", _CELEBA, (None, 3.15), _quoted(1, "[64]")),
        Row("Thewlis et al. (2017), [51]", _CELEBA, (9.30, 6.67), _quoted(1, "[51]")),
        Row("Thewlis et al. (2017), [52]", _CELEBA, (7.97, 5.83), _quoted(1, "[52]")),
        Row("MTCNN (2014)", _LABELS_CELEBA, (None, 5.39), _quoted(1, "[65]")),
        Row("LBF (2014)", _LABELS_CELEBA, (6.32, None), _quoted(1, "[45]")),
        Row("CFSS (2015)", _LABELS_CELEBA, (5.76, None), _quoted(1, "[69]")),
        Row("cGPRT (2015)", _LABELS_CELEBA, (5.71, None), _quoted(1, "[29]")),
        Row("DDN (2016)", _LABELS_CELEBA, (5.65, None), _quoted(1, "[60]")),
        Row("TCDCN (2016)", _LABELS_CELEBA, (5.54, None), _quoted(1, "[66]")),
        Row("RAR (2016)", _LABELS_CELEBA, (4.94, None), _quoted(1, "[57]")),
        Row(VGG_FACE, _LABELS, (11.16, 5.92)),
    ),
)

TABLE_2 = PaperTable(
    2,
    "Pose prediction error on the AFLW test set of KEPLER, degrees. Lower is better.",
    ("Roll", "Pitch", "Yaw", "MAE"),
    ("AFLW",) * 4,
    (1000,) * 4,
    2,
    (
        Row(FABNET, _VOXCELEB, (5.54, 7.84, 12.93, 8.77)),
        Row(CURRICULUM, _VOXCELEB, (5.33, 7.21, 11.34, 7.96)),
        Row(THREE_SOURCES, _VOXCELEB, (5.14, 7.13, 10.70, 7.65)),
        Row(VGG_FACE, _LABELS, (8.24, 8.36, 18.35, 11.65)),
        Row("KEPLER (2017)", _LABELS, (8.75, 5.85, 6.45, 7.02), _quoted(2, "[26]")),
    ),
)

_UNITS = ("1", "2", "4", "5", "6", "9", "12", "17", "20", "25", "26", "avg.")
TABLE_3 = PaperTable(
    3,
    "Action units on EmotioNet, area under the ROC curve, %. Higher is better.",
    _UNITS,
    ("EmotioNet",) * len(_UNITS),
    (None,) * len(_UNITS),
    1,
    (
        Row(FABNET, _VOXCELEB, (72.0, 68.9, 73.2, 69.4, 88.2, 78.6, 89.5, 71.0, 75.9, 81.4, 72.0, 76.4)),
        Row(CURRICULUM, _VOXCELEB, (73.4, 71.8, 75.3, 67.8, 90.4, 78.8, 91.9, 72.4, 74.5, 83.7, 73.3, 77.6)),
        Row(THREE_SOURCES, _VOXCELEB, (74.1, 72.3, 75.8, 68.8, 90.7, 81.8, 92.5, 73.7, 77.2, 83.6, 73.6, 78.6)),
        Row(ROTATION, _VOXCELEB, (68.6, 64.0, 72.8, 70.0, 83.9, 78.1, 83.8, 68.4, 72.6, 73.1, 67.2, 72.9)),
        Row(SPLIT_BRAIN, _VOXCELEB, (65.5, 59.8, 66.7, 60.8, 71.8, 65.8, 73.3, 64.5, 57.4, 68.1, 61.1, 65.0)),
        Row(AUTOENCODER, _VOXCELEB, (67.2, 60.5, 70.1, 65.1, 79.6, 70.4, 80.1, 68.3, 66.5, 70.5, 64.1, 69.3)),
        Row(VGG_FACE, _LABELS, (81.8, 83.0, 83.5, 81.8, 92.0, 90.9, 95.7, 80.6, 85.2, 86.5, 73.0, 84.9)),
        Row(VGG_11, _LABELS, (74.7, 77.2, 85.8, 83.7, 93.8, 89.7, 97.5, 78.3, 86.9, 96.4, 81.5, 86.0)),
    ),
)

_CLASSES = ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Contempt", "avg.")
TABLE_4 = PaperTable(
    4,
    "Expressions on AffectNet, area under the ROC curve, %. Higher is better.",
    _CLASSES,
    ("AffectNet",) * len(_CLASSES),
    (None,) * len(_CLASSES),
    1,
    (
        Row(FABNET, _VOXCELEB, (70.0, 87.6, 68.8, 75.5, 76.5, 70.0, 73.2, 71.2, 74.2)),
        Row(CURRICULUM, _VOXCELEB, (71.5, 90.0, 70.8, 78.2, 77.4, 72.2, 75.7, 72.1, 76.0)),
        Row(THREE_SOURCES, _VOXCELEB, (72.3, 90.4, 70.9, 78.6, 77.8, 72.5, 76.4, 72.2, 76.4)),
        Row(ROTATION, _VOXCELEB, (67.8, 84.9, 69.0, 73.9, 75.7, 69.8, 71.5, 68.7, 72.7)),
        Row(SPLIT_BRAIN, _VOXCELEB, (63.9, 74.7, 64.2, 61.3, 68.3, 58.6, 68.2, 62.8, 65.3)),
        Row(AUTOENCODER, _VOXCELEB, (65.8, 80.0, 64.7, 66.1, 70.6, 63.4, 68.3, 65.0, 68.0)),
        Row(VGG_FACE, _LABELS, (75.9, 92.2, 80.5, 81.4, 82.3, 81.4, 81.2, 77.1, 81.5)),
        Row("AlexNet", _LABELS, (*(None,) * 8, 82.0), _quoted(4, "[35]")),
    ),
)

TABLES = {table.number: table for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4)}


def row_of(table: PaperTable, encoder: str) -> Row | None:
    """The printed row that one of our encoders corresponds to, if that table has it.

    Args:
        table: of the paper.
        encoder: a name of ours.
    """
    rows: Mapping[str, Row] = {row.method: row for row in table.rows}
    return rows.get(ROW_OF.get(encoder, ""))
