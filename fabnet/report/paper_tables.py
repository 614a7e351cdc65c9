"""Tables 1 to 4 of the paper with our rows below those that they correspond to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fabnet.report.blocks import NOTHING, Block, Content, Score, Section, Table, Text, number_cell, score_cell
from fabnet.report.paper_numbers import PAPER, TABLES, PaperTable, row_of
from fabnet.report.set_results import SetResults
from fabnet.tables import EXPRESSIONS, UNIT_COLUMNS

_INTRODUCTION = (
    f"Rows marked `paper` are the numbers printed in {PAPER}, and those of other authors as quoted there; rows marked "
    "`ours` are measured here by regularised linear probes: value [95 % bootstrap interval over identities], number of "
    "faces, and the "
    "runs that a cell came from. Their names are stages of `dvc.yaml`, the tag `dvc.stage` of MLflow runs; the number "
    "in between is the beginning of `weights.sha256`. A row of ours stands below the paper's row that it corresponds "
    "to; variants that the paper does not have follow at the end."
)


@dataclass(frozen=True)
class _Column:
    """Where the number of a printed column is found: the kind of set that it was measured on, and the score."""

    kind: str
    score: Callable[[SetResults, str], Score | None]
    #: Of the columns of other sets.
    title: str


def _metric(name: str) -> Callable[[SetResults, str], Score | None]:
    return lambda found, encoder: found.scores.get(encoder, {}).get(name)


def _area(task: str, column: str) -> Callable[[SetResults, str], Score | None]:
    return lambda found, encoder: found.columns.get(task, {}).get(encoder, {}).get(column)


_COLUMNS: Mapping[int, tuple[_Column, ...]] = {
    1: (
        _Column("w300", _metric("landmarks68_nme_pct"), "68 landmarks"),
        _Column("mafl", _metric("landmarks5_nme_pct"), "5 landmarks"),
    ),
    2: tuple(
        _Column("aflw", _metric(f"{angle}_mae_deg"), title)
        for angle, title in (("roll", "Roll"), ("pitch", "Pitch"), ("yaw", "Yaw"), ("pose", "MAE"))
    ),
    3: (
        *(_Column("emotionet", _area("units", name), str(int(name[2:]))) for name in UNIT_COLUMNS),
        _Column("emotionet", _metric("units_auc"), "avg."),
    ),
    4: (
        *(_Column("affectnet", _area("expression", name), name.capitalize()) for name in EXPRESSIONS),
        _Column("affectnet", _metric("expression_auc"), "avg."),
    ),
}


def paper_tables(sets: Sequence[SetResults]) -> Content:
    """All four tables, each as printed, with the sets that it was measured on; then for every other set that has it."""
    yield Text(_INTRODUCTION)
    for number, columns in _COLUMNS.items():
        yield _section(TABLES[number], columns, sets)


def _section(printed: PaperTable, columns: Sequence[_Column], sets: Sequence[SetResults]) -> Section:
    # The first set of a kind is the paper's; a further one is a set of its own.
    measured: dict[str, SetResults] = {}
    for found in sets:
        if found.kind in {column.kind for column in columns}:
            measured.setdefault(found.kind, found)
    blocks: list[Block] = [_as_printed(printed, columns, measured)]
    for found in sets:
        has = [
            (place, column)
            for place, column in enumerate(columns)
            if any(column.score(found, encoder) for encoder in found.scores) and measured.get(column.kind) is not found
        ]
        if has:
            blocks.append(_elsewhere(printed, has, found))
    return Section(f"Table {printed.number}", f"table-{printed.number}", blocks)


def _as_printed(printed: PaperTable, columns: Sequence[_Column], measured: Mapping[str, SetResults]) -> Table:
    encoders = list(dict.fromkeys(encoder for found in measured.values() for encoder in found.scores))

    def ours(encoder: str) -> list[str]:
        of = [measured.get(column.kind) for column in columns]
        return _ours(printed, encoder, [(found, column) for found, column in zip(of, columns, strict=True)])

    rows: list[list[str]] = []
    shown = set()
    for row in printed.rows:
        numbers = [number_cell(number, printed.digits) for number in row.numbers]
        faces = _joined(
            f"{count:,}" for count, number in zip(printed.faces, row.numbers, strict=True) if count and number
        )
        rows.append([row.method, "paper", *numbers, faces, f"{row.source}; {row.trained}"])
        for encoder in encoders:
            if row_of(printed, encoder) is row:
                rows.append(ours(encoder))
                shown.add(encoder)
    rows += [ours(encoder) for encoder in encoders if encoder not in shown]
    missing = [data for data, column in zip(printed.data, columns, strict=True) if column.kind not in measured]
    said = f" Not among the sets here: {', '.join(dict.fromkeys(missing))}." if missing else ""
    caption = f"**Table {printed.number}.** {printed.caption}{said}"
    return Table(["method", "", *printed.columns, "faces", "from"], rows, caption)


def _elsewhere(printed: PaperTable, columns: Sequence[tuple[int, _Column]], found: SetResults) -> Table:
    data = list(dict.fromkeys(printed.data[place] for place, _ in columns))
    rows = []
    for encoder in found.scores:
        if not any(column.score(found, encoder) for _, column in columns):
            continue
        rows.append(_ours(printed, encoder, [(found, column) for _, column in columns]))
        row = row_of(printed, encoder)
        if row is not None and any(row.numbers[place] is not None for place, _ in columns):
            numbers = [number_cell(row.numbers[place], printed.digits) for place, _ in columns]
            counts = [printed.faces[place] for place, _ in columns if row.numbers[place] is not None]
            faces = _joined(f"{count:,}" for count in counts if count)
            rows.append(
                [f"↳ {row.method}", f"paper, on {' and '.join(data)}: not comparable", *numbers, faces, row.source]
            )
    caption = (
        f"Table {printed.number} on **`{found.name}`**, which the paper does not have: its numbers beside ours are of "
        f"{' and '.join(data)}, other faces and other labels, and not comparable."
    )
    return Table(["method", "", *(column.title for _, column in columns), "faces", "from"], rows, caption)


def _ours(printed: PaperTable, encoder: str, columns: Sequence[tuple[SetResults | None, _Column]]) -> list[str]:
    cells, faces, origins = [], [], []
    for found, column in columns:
        score = column.score(found, encoder) if found is not None else None
        if found is None or score is None:
            # Undefined, for a class that is constant within the test faces, is not the same as not measured.
            absent = found is not None and encoder in found.scores and _knows(found, encoder, column)
            cells.append("absent" if absent else NOTHING)
            continue
        cells.append(score_cell(score, printed.digits))
        faces.append(f"{score['n']:,}")
        origins.append(found.origins.get(encoder, NOTHING))
    saw = next((found.saw[encoder] for found, _ in columns if found is not None and encoder in found.others), None)
    whose = "ours" if saw is None else f"not ours; learnt from {saw}"
    return [f"`{encoder}`", whose, *cells, _joined(faces), "; ".join(dict.fromkeys(origins)) or NOTHING]


def _knows(found: SetResults, encoder: str, column: _Column) -> bool:
    """Whether the encoder was asked for this unit or class."""
    task = {"emotionet": "units", "affectnet": "expression"}.get(column.kind)
    return task is not None and bool(found.columns.get(task, {}).get(encoder))


def _joined(faces: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(faces)) or NOTHING
