"""`fabnet animate`: a picture moved as a video, what is done about frames without a face, and what is refused."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from clip_files import write_pictures, write_sound
from inference_files import SIZE, write_colours
from warping_models import blank, drawn_face, read_frames, write_frames, write_jpeg, write_warping

from fabnet.errors import UserError
from fabnet.faces.face_params import params_of
from fabnet.faces.inputs import find_inputs
from fabnet.inference.animate import AnimationSummary, animate, find_source
from fabnet.inspection import network as inside
from fabnet.inspection.network import open_fabnet
from fabnet.video.clip_writer import choose_codec, rate_of
from fabnet.video.unit import crop_of

CROPPED = params_of({"source": "cropped"}, SIZE)
DETECT = params_of({"source": "detected"}, SIZE, margin=0.2)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return open_fabnet(write_warping(tmp_path_factory.mktemp("models") / "one"))


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    return write_jpeg(tmp_path_factory.mktemp("source") / "face.jpg", drawn_face(0.0))


def reconstructed(network, source):
    """What the model makes of a source whose target is itself."""
    own = inside.embeddings(network, source.crop[None])
    return inside.moved(source.shown[None], inside.flows(network, own, own))[0]


def difference(one, other):
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("sources", [1, 3])
def test_driven_by_itself_it_is_the_model_s_reconstruction(sources, face, tmp_path):
    """As many frames as the driving video's, at its rate. One source is enough for a model of several."""
    network = open_fabnet(write_warping(tmp_path / "model", sources))
    still = write_frames(tmp_path / "still.mp4", [drawn_face(0.0)] * 11, rate=7)
    done = animate(str(face), str(still), tmp_path / "out.mp4", network, CROPPED, size=128)
    assert done == AnimationSummary(11, 0, None)
    assert done.warning() == ""
    frames, rate = read_frames(tmp_path / "out.mp4")
    assert (frames.shape, rate) == ((11, 128, 128, 3), 7)
    source = find_source(find_inputs([str(face)])[0][0], CROPPED, 128)
    expected = reconstructed(network, source)
    # Random weights move it; the crop of a video differs a little from that of a picture.
    assert max(difference(frame, expected) for frame in frames) < difference(expected, source.shown) / 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out.mp4", "still.mp4"]


def test_it_moves_as_the_driving_face(network, face, tmp_path):
    seconds = np.arange(8) / 3
    video = write_frames(tmp_path / "talk.mp4", [drawn_face(second) for second in seconds])
    animate(str(face), str(video), tmp_path / "out.mp4", network, CROPPED, size=64, beside=True)
    frames, _ = read_frames(tmp_path / "out.mp4")
    assert frames.shape == (8, 64, 128, 3)
    source = find_source(find_inputs([str(face)])[0][0], CROPPED, 64)
    seen, _ = read_frames(video)  # random weights make much of what compression changes
    crops = np.stack([params_crop(picture) for picture in seen])
    own = np.repeat(inside.embeddings(network, source.crop[None]), 8, axis=0)
    flows = inside.flows(network, own, inside.embeddings(network, crops))
    expected = inside.moved(np.repeat(source.shown[None], 8, axis=0), flows)
    for frame, result, second in zip(frames, expected, seconds, strict=True):
        assert difference(frame[:, 64:], result) < 4
        assert difference(frame[:, :64], drawn_face(second)[::2, ::2]) < 8


def params_crop(picture):
    """The crop of a whole picture, as a network sees it."""
    import simplejpeg

    from fabnet.video.crop import centred_square
    from fabnet.video.faces import Face, Track

    face = Face(Track("t", "i", "v"), 0, 0.0, picture, centred_square(*picture.shape[1::-1]))
    return simplejpeg.decode_jpeg(crop_of(face, CROPPED).jpeg, "RGB")


def test_relative_motion_begins_with_the_source_s_own_pose(network, face, tmp_path):
    video = write_frames(tmp_path / "talk.mp4", [drawn_face(second) for second in (2.0, 2.4, 2.8)])
    animate(str(face), str(video), tmp_path / "out.mp4", network, CROPPED, size=128, relative=True)
    frames, _ = read_frames(tmp_path / "out.mp4")
    source = find_source(find_inputs([str(face)])[0][0], CROPPED, 128)
    assert difference(frames[0], reconstructed(network, source)) < 2.5
    assert difference(frames[2], frames[0]) > 0.2


def test_times_of_a_video_of_changing_rate_are_kept(network, face, tmp_path):
    times = [0, 40, 80, 200, 240, 400]
    video = write_pictures(tmp_path / "uneven.mp4", times, rate=1000)
    done = animate(str(face), str(video), tmp_path / "out.mp4", network, CROPPED, size=32)
    assert done.frames == 6
    import av

    with av.open(str(tmp_path / "out.mp4")) as container:
        shown = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(np.diff(shown), np.diff(times) / 1000, atol=1e-3)


@pytest.mark.parametrize("rate", [(24000, 1001), (30000, 1001), (25, 1)])
def test_no_frame_is_lost_or_doubled_at_broken_rates(network, face, tmp_path, rate):
    numerator, denominator = rate
    video = write_pictures(tmp_path / "film.mkv", range(0, 40 * denominator, denominator), rate=numerator)
    done = animate(str(face), str(video), tmp_path / "out.mp4", network, CROPPED, size=32)
    frames, written = read_frames(tmp_path / "out.mp4")
    assert done.frames == len(frames) == 40
    assert written == pytest.approx(numerator / denominator, rel=2e-3)


def test_without_a_face_the_last_result_is_held_and_said(network, face, tmp_path):
    """Nothing, a face, nothing, as a detector sees them: at 5 frames per second, the face from 2 s to 5 s."""
    frames = [blank()] * 10 + [drawn_face(0.2 * number) for number in range(15)] + [blank()] * 5
    video = write_frames(tmp_path / "gone.mp4", frames)
    done = animate(str(face), str(video), tmp_path / "out.mp4", network, DETECT, size=64, beside=True)
    assert (done.frames, done.first_held_s) == (30, 0)
    assert 14 <= done.held <= 16
    assert done.warning() == (
        f"{done.held} of 30 frames show no face, the first at 0:00.0: the result before is held there (at the "
        "beginning: the source as it is)"
    )
    written, _ = read_frames(tmp_path / "out.mp4")
    driving, results = written[:, :, :64], written[:, :, 64:]
    source = find_source(find_inputs([str(face)])[0][0], DETECT, 64)
    assert max(difference(result, source.shown) for result in results[:9]) < 3
    assert all(difference(one, other) < 1 for one, other in pairwise(results[26:]))
    assert difference(results[15], results[22]) > 0.3
    assert driving[5].max() < 30  # black: no face there
    assert driving[17].max() > 150


def test_a_gap_in_the_middle_is_held_too(network, face, tmp_path, monkeypatch):
    """Frames 4 to 6 of 10 have no face, and a second, shorter track beside the first is not taken."""
    from fabnet.inference import animate as module
    from fabnet.video.crop import Box
    from fabnet.video.faces import Face, Track, TrackEnd
    from fabnet.video.reject import Rejected

    def find(clip):
        def faces(frames):
            for frame in frames:
                (number,) = frame.samples
                if number not in (4, 5, 6):
                    yield Face(Track("long", "", ""), number, frame.time_s, frame.image, Box(0, 0, 128, 128))
                if number in (3, 4):
                    yield Face(Track("error", "", ""), number, frame.time_s, frame.image, Box(0, 0, 40, 40))
                if number in (6, 7):
                    yield Face(Track("short", "", ""), number, frame.time_s, frame.image, Box(60, 60, 100, 100))
            yield TrackEnd(Track("error", "", ""), Rejected("lost", "seen once"))

        return faces

    monkeypatch.setattr(module, "centred", find)
    video = write_frames(tmp_path / "ten.mp4", [drawn_face(0.3 * number) for number in range(10)])
    done = animate(str(face), str(video), tmp_path / "out.mp4", network, CROPPED, size=64, beside=True)
    assert (done.frames, done.held, done.first_held_s) == (10, 2, 0.8)
    written, _ = read_frames(tmp_path / "out.mp4")
    assert all(difference(written[number, :, 64:], written[3, :, 64:]) < 1 for number in (4, 5))
    whole = [difference(written[number, :, :64], drawn_face(0.3 * number)[::2, ::2]) for number in (6, 7)]
    assert whole[1] < 8 < whole[0]  # of two faces the longer track's; where there is one, that one


def test_memory_does_not_grow_with_the_video(network, face, tmp_path):
    """A video of 150 frames of 320 x 240 is 35 MB of pictures."""
    import tracemalloc

    peaks = []
    for frames in (30, 150):
        video = write_colours(tmp_path / f"{frames}.mp4", frames, rate=25, width=320, height=240)
        tracemalloc.start()
        animate(str(face), str(video), tmp_path / "out.mp4", network, CROPPED, size=64, beside=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e6


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.fixture
def refused(network, face, tmp_path):
    """Runs it on these inputs and returns the line; nothing may be left behind."""

    def run(source=face, driving=None, out="out.mp4", params=CROPPED, **options):
        driving = driving or write_colours(tmp_path / "any.mp4", 4)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError) as caught:
            animate(str(source), str(driving), tmp_path / out, network, params, **options)
        assert sorted(tmp_path.rglob("*")) == before
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


def test_out_must_be_an_mp4(refused, tmp_path):
    assert refused(out="out.gif").endswith("out.gif: the result is an MP4 file; name it out.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert "is an MP4 file" in refused(out="folder.mp4")
    assert refused(driving=write_colours(tmp_path / "same.mp4", 4), out="same.mp4").endswith(
        "is the driving video; name another file for the result"
    )
    assert refused(size=63) == "--size 63: must be even and at least 16"


def test_a_driving_video_without_any_face(refused, tmp_path):
    video = write_frames(tmp_path / "empty.mp4", [blank()] * 6)
    assert "empty.mp4: no face in it: blazeface found no face in 3 frames looked at" in refused(
        driving=video, params=DETECT
    )


def test_a_driving_video_that_cannot_be_read(refused, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    assert "text.mp4: not a video" in refused(driving=tmp_path / "text.mp4")
    whole = write_colours(tmp_path / "whole.mkv", 40).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    assert "cut.mkv: " in refused(driving=tmp_path / "cut.mkv")
    assert "its streams are: audio" in refused(driving=write_sound(tmp_path / "sound.mp4"))
    assert "missing.mp4: does not exist" in refused(driving=tmp_path / "missing.mp4")
    assert "the driving must be a video" in refused(driving=write_jpeg(tmp_path / "a.jpg", blank()))
    assert "is a folder; name one video" in refused(driving=tmp_path)


def test_a_source_that_is_of_no_use(refused, tmp_path):
    assert "wall.jpg: no face in it: blazeface found none" in refused(
        source=write_jpeg(tmp_path / "wall.jpg", blank()), params=DETECT
    )
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert "bad.png: neither JPEG nor PNG" in refused(source=tmp_path / "bad.png")
    assert "the source must be a picture, JPEG or PNG" in refused(source=write_colours(tmp_path / "film.mp4", 4))
    assert "none.jpg: does not exist" in refused(source=tmp_path / "none.jpg")


def test_a_crash_half_way_leaves_what_was_there(network, face, tmp_path, monkeypatch):
    from fabnet.inference import animate as module

    (tmp_path / "out.mp4").write_bytes(b"of before")
    video = write_colours(tmp_path / "any.mp4", 4)

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(module, "flows", fail)
    with pytest.raises(RuntimeError):
        animate(str(face), str(video), tmp_path / "out.mp4", network, CROPPED)
    assert (tmp_path / "out.mp4").read_bytes() == b"of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["any.mp4", "out.mp4"]


def test_where_there_is_no_h264_it_is_mpeg4(network, face, tmp_path, monkeypatch):
    from fabnet.video import clip_writer as clip

    assert choose_codec() == "libx264"
    monkeypatch.setattr(clip, "_CODECS", {"no_such_codec": {}, "mpeg4": clip._CODECS["mpeg4"]})
    assert choose_codec() == "mpeg4"
    video = write_colours(tmp_path / "any.mp4", 4)
    animate(str(face), str(video), tmp_path / "out.mp4", network, CROPPED, size=32)
    assert read_frames(tmp_path / "out.mp4")[0].shape == (4, 32, 32, 3)
    monkeypatch.setattr(clip, "_CODECS", {"no_such_codec": {}})
    with pytest.raises(UserError, match="writes no video"):
        choose_codec()


@pytest.mark.parametrize(
    ("frames", "last_s", "rate"),
    [(40, 39 * 1001 / 24000, Fraction(24000, 1001)), (26, 1.0, Fraction(25)), (1, 0.0, Fraction(25)), (3, 4.0, 0.5)],
)
def test_the_rate_is_that_of_the_times(frames, last_s, rate):
    assert rate_of(frames, last_s) == rate
