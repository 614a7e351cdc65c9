"""Face-track files: genuine ones against an independent reading, every wrong line by its number, and damaged bytes."""

import re
from pathlib import Path

import numpy as np
import pytest

from fabnet.errors import UserError
from fabnet.video.sources.face_track_file import Unit, read_face_track
from tests.code.source_layouts import track_text, write

SHARED = Path(__file__).parents[2] / ".." / "shared" / "formats" / "voxceleb1" / "txt"


class TestFaceTrackFile:
    @pytest.mark.skipif(not SHARED.is_dir(), reason="the files of VoxCeleb1 are not here")
    def test_genuine_files(self):
        paths = sorted(SHARED.rglob("*.txt"))
        assert len(paths) >= 6
        for path in paths:
            content = read_face_track(path, "pixels")
            assert (content.identity, content.video) == path.parts[-3:-1]
            # An independent reading.
            rows = np.array([line.split() for line in path.read_text().splitlines()[7:]], dtype=float)
            np.testing.assert_array_equal(content.rows[:, 0], rows[:, 0] / 25)
            np.testing.assert_array_equal(content.rows[:, 1:3], rows[:, 1:3])
            np.testing.assert_array_equal(content.rows[:, 3:], rows[:, 1:3] + rows[:, 3:])
            with pytest.raises(UserError, match=r"line 8: pixels, but extract.source voxceleb2_txt"):
                read_face_track(path, "fractions")

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_fractions(self, tmp_path, end):
        rows = [(349, "0.319", "0.067", "0.424", "0.753"), (350, "-0.010", "0", "1", "1.020")]
        text = track_text(rows, "id00012", "_raOc3-IRsw", "\t(1)").replace("\n", end)
        (tmp_path / "a.txt").write_bytes(text.encode())
        content = read_face_track(tmp_path / "a.txt", "fractions")
        assert (content.identity, content.video, content.unit) == ("id00012", "_raOc3-IRsw", "fractions")
        expected = [[13.96, 0.319, 0.067, 0.743, 0.82], [14.0, -0.01, 0, 0.99, 1.02]]
        np.testing.assert_allclose(content.rows, expected, atol=1e-12)

    GOOD = track_text([(170, 413, 65, 91, 91), (171, 413, 65, 91, 91), (175, 413, 65, 92, 91)])

    @pytest.mark.parametrize("line", range(1, 8))
    def test_missing_line(self, tmp_path, line):
        lines = self.GOOD.splitlines(keepends=True)
        path = write(tmp_path / "a.txt", "".join(lines[: line - 1] + lines[line:]))
        with pytest.raises(UserError, match=rf"a\.txt: line {line}: expected "):
            read_face_track(path, "pixels")

    @pytest.mark.parametrize("line", range(8))
    def test_cut_before_its_boxes(self, tmp_path, line):
        path = write(tmp_path / "a.txt", "".join(self.GOOD.splitlines(keepends=True)[:line]))
        # The empty line is not seen at the end of a file.
        with pytest.raises(UserError, match=rf"a\.txt: line {line + 1 - (line == 6)}: is missing"):
            read_face_track(path, "pixels")

    def test_missing_row_is_bridged(self, tmp_path):
        assert read_face_track(write(tmp_path / "a.txt", self.GOOD), "pixels").rows[:, 0].tolist() == [6.8, 6.84, 7.0]

    @pytest.mark.parametrize(
        ("unit", "rows", "message"),
        [
            ("pixels", [(1, 1, 1, 9, 9), (1, 1, 1, 9, 9)], "line 9: a frame's number that is not above the one before"),
            ("pixels", [(5, 1, 1, 9, 9), (4, 1, 1, 9, 9)], "line 9: a frame's number that is not above"),
            ("pixels", [(1, 1, 1, 9, 9), (2, 1, 1, 9)], "line 9: expected a frame's number and X Y W H, found"),
            ("pixels", [(1, 1, 1, 9, 9, 9)], "line 8: expected"),
            ("pixels", [(1, 1, 1, "nan", 9)], "line 8: expected"),
            ("pixels", [(1, 1, 1, "1e3", 9)], "line 8: expected"),
            ("pixels", [(1, 1, 1, "١٢", 9)], "line 8: expected"),
            ("pixels", [(1, 1, 1, 0, 9)], "line 8: a box without width or height"),
            ("pixels", [(1, 1, 1, 9, 9), (2, 1, 1, 9, -9)], "line 9: a box without width or height"),
            (
                "pixels",
                [(1, "0.319", "0.067", "0.424", "0.753")],
                r"line 8: fractions, but extract\.source voxceleb1 reads pixels; "
                "voxceleb2_txt reads fractions",
            ),
            ("pixels", [(1, 41, 6, 9, 9), (2, "0.3", "0.0", "0.4", "0.7")], "line 9: fractions"),
            ("pixels", [(1, 0, 0, 1, 1)], "line 8: fractions"),
            ("fractions", [(1, "0.3", "0.0", "0.4", "0.7"), (2, 41, 6, 9, 9)], "line 9: pixels"),
            ("fractions", [(1, "413.0", "65.0", "91.0", "91.0")], "line 8: pixels"),
        ],
    )
    def test_wrong_rows(self, tmp_path, unit: Unit, rows, message):
        with pytest.raises(UserError, match=rf"a\.txt: {message}"):
            read_face_track(write(tmp_path / "a.txt", track_text(rows)), unit)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("FRAME \tX \tY \tW \tH", "FRAME \tX1 \tY1 \tX2 \tY2", "line 7: expected FRAME X Y W H, found 'FRAME"),
            ("FRAME \tX", "FRAME \tSCORE \tX", "line 7: expected FRAME X Y W H"),
            ("Identity  : \tid10092", "Identity  : \t", "line 1: expected Identity : <id>"),
            ("Offset    : \t-2", "Offset    : \tsoon", "line 3: expected Offset"),
            ("Reference", "\xff", "line 2: not UTF-8 text"),
        ],
    )
    def test_wrong_header(self, tmp_path, old, new, message):
        (tmp_path / "a.txt").write_bytes(self.GOOD.replace(old, new).encode("latin-1"))
        with pytest.raises(UserError, match=rf"a\.txt: {message}"):
            read_face_track(tmp_path / "a.txt", "pixels")

    def test_damaged_files_are_named(self, tmp_path):
        """Whatever is in it, it is read or refused in one line."""
        rng = np.random.default_rng(0)
        good, messages = self.GOOD.encode(), []
        for _ in range(300):
            bad = bytearray(good)
            for place in rng.integers(0, len(bad), rng.integers(1, 4)):
                bad[place] = rng.integers(0, 256)
            cut = int(rng.integers(0, len(bad) + 1)) if rng.random() < 0.3 else len(bad)
            (tmp_path / "a.txt").write_bytes(bad[:cut])
            try:
                read_face_track(tmp_path / "a.txt", "pixels")
            except UserError as error:
                messages.append(str(error))
        assert len(messages) > 100
        assert all(re.fullmatch(rf"{tmp_path}/a\.txt: line [0-9]+: .*", message) for message in messages)
