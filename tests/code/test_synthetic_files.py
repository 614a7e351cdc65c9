"""The written data: legal, whole, and the same bytes for the same seed whatever the number of workers."""

import io
import tarfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import simplejpeg

from fabnet import tables
from fabnet.config import SynthesizeParams
from fabnet.files import hash_file
from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.synthetic import videos
from fabnet.synthetic.faces import IMAGES, LABELS, portraits_of, write_faces
from fabnet.synthetic.landmarks import landmarks68
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import encode, interview_of, write_videos

VALUES = {
    "seed": 11,
    "image_size": 48,
    "videos": {"identities": 2, "seconds": 3, "fps": 2},
    "faces": {"train": 2, "validation": 1, "test": 1, "per_identity": 2},
}


def parameters(workers: int) -> SynthesizeParams:
    return SynthesizeParams.model_validate(VALUES | {"workers": workers})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The data of one seed, drawn by one process and by two."""
    folders = []
    for workers in (1, 2):
        folder = tmp_path_factory.mktemp(f"workers{workers}")
        write_videos(folder / "videos", parameters(workers))
        write_faces(folder / "faces", parameters(workers))
        folders.append(folder)
    return folders


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hash_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24", interpolation=SAME_EVERYWHERE) for frame in container.decode(video=0)]


def test_the_number_of_workers_changes_no_byte(written: list[Path]) -> None:
    one, two = (hashes(folder) for folder in written)
    assert one == two
    assert len(one) == 2 + 2


def test_videos_hold_the_frames_that_were_drawn(written: list[Path]) -> None:
    clips = sorted((written[0] / "videos").rglob("*.mp4"))
    assert [str(clip.relative_to(written[0] / "videos")) for clip in clips] == [
        f"syn000{n}/interview.mp4" for n in (1, 2)
    ]
    for number, clip in enumerate(clips):
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.average_rate, stream.width) == ("h264", 2, 48)
            times = [frame.time for frame in container.decode(video=0)]
        np.testing.assert_allclose(times, np.arange(6) / 2)
        identity, interview = interview_of(11, number, 3)
        for index, frame in enumerate(decode(clip)):
            drawn = render(identity, interview(index / 2), 48)
            assert np.abs(frame.astype(int) - drawn).mean() < 6


def test_labels_are_legal_and_describe_the_images(written: list[Path]) -> None:
    labels = tables.read(written[0] / "faces" / LABELS, tables.Labels)
    assert len(labels) == 8
    assert labels.groupby("split")["identity"].nunique().to_dict() == {"train": 2, "validation": 1, "test": 1}
    with tarfile.open(written[0] / "faces" / IMAGES) as archive:
        assert archive.getnames() == list(labels["image"])
        images = [simplejpeg.decode_jpeg(archive.extractfile(name).read()) for name in labels["image"]]  # type: ignore[union-attr]
    identity, sampled = portraits_of(11, 2, 2)
    rows: list[Any] = list(labels[4:6].itertuples())
    for row, image, portrait in zip(rows, images[4:6], sampled, strict=True):
        assert np.abs(image.astype(int) - render(identity, portrait.state, 48)).mean() < 3
        np.testing.assert_allclose(np.reshape(row.landmarks68, (68, 2)), landmarks68(identity, portrait.state, 48))
        assert (row.yaw_deg, row.pitch_deg, row.roll_deg) == (
            portrait.state.yaw,
            portrait.state.pitch,
            portrait.state.roll,
        )
        assert tuple(getattr(row, column) for column in tables.UNIT_COLUMNS) == portrait.state.units
        assert row.expression == portrait.expression
        assert (row.left, row.top, row.right, row.bottom) == (0, 0, 48, 48)


def test_identities_of_videos_and_splits_are_disjoint(written: list[Path]) -> None:
    labels = tables.read(written[0] / "faces" / LABELS, tables.Labels)
    names = {path.name for path in (written[0] / "videos").iterdir()}
    assert not names & set(labels["identity"])
    assert (labels.groupby("identity")["split"].nunique() == 1).all()
    people = [interview_of(11, number, 4)[0] for number in range(20)] + [
        portraits_of(11, number, 1)[0] for number in range(20)
    ]
    assert len({person.seed for person in people}) == len({person.skin for person in people}) == 40


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(videos.Progress, "advance", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_videos(tmp_path / "videos", parameters(1))
    assert list(tmp_path.iterdir()) == []


def test_encoding_is_repeatable_at_any_rate(tmp_path: Path) -> None:
    identity, interview = interview_of(3, 0, 1)
    frames = [render(identity, interview(index / 25), 48) for index in range(10)]
    for name in ("a.mp4", "b.mp4"):
        encode(tmp_path / name, frames, 25, 48)
    assert hash_file(tmp_path / "a.mp4") == hash_file(tmp_path / "b.mp4")
    assert len(decode(tmp_path / "a.mp4")) == 10


def test_archives_hold_no_times_or_owners(written: list[Path]) -> None:
    with tarfile.open(fileobj=io.BytesIO((written[0] / "faces" / IMAGES).read_bytes())) as archive:
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in archive} == {(0, 0, 0, "")}
