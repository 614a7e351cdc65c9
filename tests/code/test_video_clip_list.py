"""Lists of more clips than memory should hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from fabnet.errors import UserError
from fabnet.video.clips import Clip, ClipList


class TestClipList:
    def clips(self, count: int):
        for number in range(count):
            name = f"p{number // 100:06d}/v{number // 10 % 10}/{number:08d}.mp4"
            yield Clip(Path("videos") / name, name, name.split("/")[0], name.split("/")[1], ("x",) * (number % 3))

    @pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097, 9000])
    def test_slices(self, tmp_path, count):
        expected = list(self.clips(count))
        clips = ClipList.write(self.clips(count), tmp_path / "clips.arrow")
        assert len(clips) == count
        for first, size in [(0, count), (0, 7), (4090, 10), (4096, 1), (count - 1, 5), (count, 1), (0, 0)]:
            assert clips.slice(max(first, 0), size) == expected[max(first, 0) : max(first, 0) + size]

    def test_same_clips_give_same_bytes(self, tmp_path):
        for name in ("a", "b"):
            ClipList.write(self.clips(5000), tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_memory_is_flat(self, tmp_path):
        """50,000 clips, which are some 35 MB as objects, take 8 bytes each beyond what 5,000 take."""
        code = """if True:
            import sys
            from itertools import islice
            from pathlib import Path
            from benchmarks._memory import peak_mb
            from fabnet.video.clips import ClipList
            from tests.code.test_video_clip_list import TestClipList
            peaks = []
            for count in (5_000, 50_000):
                clips = ClipList.write(TestClipList().clips(count), Path(sys.argv[1]) / "clips.arrow")
                assert len(clips) == count
                peaks.append(peak_mb())
            assert clips.slice(49_999, 5) == list(islice(TestClipList().clips(50_000), 49_999, None))
            print(peaks[1] - peaks[0])
        """
        run = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(run, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) < 12  # MB; the file itself, which is mapped, is 2.5 MB

    def test_clips_of_the_same_track(self, tmp_path):
        def clips():
            yield from self.clips(10_000)
            name = "p000000/v0/00000003.mkv"
            yield Clip(Path("videos") / name, name, "p000000", "v0")

        with pytest.raises(
            UserError, match=r"00000003\.mp4 and p000000/v0/00000003\.mkv would share the track p000000"
        ):
            ClipList.write(clips(), tmp_path / "clips.arrow")
        assert list(tmp_path.iterdir()) == []
