"""The paper's tables: its numbers, and ours beside the right ones."""

import numpy as np
import pytest

from fabnet.config import EncoderParams
from fabnet.report import set_results
from fabnet.report.blocks import score_table, section
from fabnet.report.paper_numbers import ROW_OF, TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLES, row_of
from fabnet.report.paper_tables import paper_tables
from fabnet.report.render import table
from fabnet.report.set_results import SetResults
from fabnet.tables import UNIT_COLUMNS


def score(value, n=100):
    return {"value": value, "low": value - 1, "high": value + 1, "n": n}


def shown(content):
    return section("Tables", "tables", lambda: content)


def found(name, kind, metric, value, **further):
    scores = {"fabnet": {metric: score(value)}, "mine": {metric: score(value + 1)}}
    origins = {"fabnet": f"`train@fabnet` → `probe@{name}`", "mine": f"`probe@{name}`"}
    return SetResults(name, kind, scores, origins=origins, **further)


@pytest.mark.parametrize(("printed", "tolerance"), [(TABLE_2, 0.011), (TABLE_3, 0.06), (TABLE_4, 0.11)])
def test_the_printed_means_are_those_of_the_printed_rows(printed, tolerance):
    """A mistyped number would move the mean of its row. FAb-Net's in table 4 is printed 0.1 off its own mean."""
    for row in printed.rows:
        *parts, mean = row.numbers
        assert len(row.numbers) == len(printed.columns)
        if None not in parts:
            assert np.mean(parts) == pytest.approx(mean, abs=tolerance), row.method


def test_rows_are_complete():
    assert [len(TABLES[number].rows) for number in (1, 2, 3, 4)] == [15, 5, 8, 8]
    assert row_of(TABLE_1, "fabnet_curriculum_3src").numbers == (5.71, 3.44)
    assert row_of(TABLE_3, "vgg11").numbers[-1] == 86.0
    assert row_of(TABLE_4, "vgg11") is None
    assert row_of(TABLE_1, "hog") is None
    methods = {row.method for printed in TABLES.values() for row in printed.rows}
    assert set(ROW_OF.values()) <= methods


def test_an_encoder_of_others_says_what_it_learnt_from():
    saw = {"fabnet": "faces", "mine": "faces with labels"}
    each = found("w", "w300", "landmarks68_nme_pct", 7.0, saw=saw, others=["mine"])
    lines = table(shown(paper_tables([each])).sections[0].blocks[0]).splitlines()
    assert lines[-1].startswith("| `mine` | not ours; learnt from faces with labels | **8.00** [7.00, 9.00]")
    assert any(line.startswith("| `fabnet` | ours |") for line in lines)
    rows = table(score_table(each.scores, saw=saw)).splitlines()
    assert rows[0] == "| encoder | learnt from | 68 landmarks % ↓ |"
    assert rows[-1].startswith("| mine | faces with labels | **8.0** [7.0, 9.0]")
    assert table(score_table(each.scores)).splitlines()[0] == "| encoder | 68 landmarks % ↓ |"


def test_what_encoders_learnt_from_is_told_only_beside_others():
    others = {"mine": EncoderParams.model_validate({"source": "timm:x", "saw": "images"})}
    runs = {"fabnet": "`train@fabnet`"}
    assert set_results._saw(["fabnet", "hog", "constant"], runs, {}) == {}
    told = set_results._saw(["fabnet", "mine", "hog", "elsewhere"], runs, others)
    assert told == {"fabnet": "faces", "mine": "images", "hog": "nothing", "elsewhere": "unknown"}
    assert set_results.origin("mine", "w", runs, others) == ("`timm:x`, which saw: images → `embed@w` → `probe@w`")


def test_a_set_of_the_paper_feeds_its_column_below_the_row_it_corresponds_to():
    sets = [found("m", "mafl", "landmarks5_nme_pct", 4.0), found("w", "w300", "landmarks68_nme_pct", 7.0)]
    first = shown(paper_tables(sets)).sections[0].blocks
    assert len(first) == 1
    lines = table(first[0]).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("| FAb-Net | paper | 6.31 | 3.78 |"))
    assert lines[at + 1] == (
        "| `fabnet` | ours | **7.00** [6.00, 8.00] | **4.00** [3.00, 5.00] | 100 | "
        "`train@fabnet` → `probe@w`; `train@fabnet` → `probe@m` |"
    )
    assert lines[-1].startswith("| `mine` | ours | **8.00** [7.00, 9.00] | **5.00** [4.00, 6.00] |")
    assert "Not among the sets here" not in first[0].caption


def test_other_sets_have_tables_of_their_own_beside_numbers_that_do_not_compare():
    blocks = shown(paper_tables([found("mine", "table", "landmarks68_nme_pct", 7.0)])).sections[0].blocks
    assert "Not among the sets here: 300-W, MAFL." in blocks[0].caption
    assert "ours" not in table(blocks[0])
    assert blocks[1].head == ["method", "", "68 landmarks", "faces", "from"]
    assert [list(row) for row in blocks[1].rows] == [
        ["`fabnet`", "ours", "**7.00** [6.00, 8.00]", "100", "`train@fabnet` → `probe@mine`"],
        ["↳ FAb-Net", "paper, on 300-W: not comparable", "6.31", "689", "Wiles et al. 2018"],
        ["`mine`", "ours", "**8.00** [7.00, 9.00]", "100", "`probe@mine`"],
    ]
    assert "not comparable" in blocks[1].caption


def test_a_second_set_of_a_kind_is_a_set_of_its_own():
    sets = [found(name, "aflw", "pose_mae_deg", value) for name, value in (("a", 8.0), ("b", 20.0))]
    blocks = shown(paper_tables(sets)).sections[1].blocks
    assert "**8.00**" in table(blocks[0])
    assert "**20.00**" not in table(blocks[0])
    assert "`b`" in blocks[1].caption


def test_a_class_without_an_area_is_absent_and_another_not_measured():
    columns = {"units": {"fabnet": {name: score(60.0) for name in UNIT_COLUMNS} | {"au02": None}}}
    sets = [found("e", "emotionet", "units_auc", 60.0, columns=columns)]
    rows = {(row[0], row[1]): row for row in shown(paper_tables(sets)).sections[2].blocks[0].rows}
    area = "**60.0** [59.0, 61.0]"
    assert list(rows["`fabnet`", "ours"][2:5]) == [area, "absent", area]
    assert list(rows["`mine`", "ours"][2:5]) == ["–"] * 3
    assert rows["`mine`", "ours"][13] == "**61.0** [60.0, 62.0]"
