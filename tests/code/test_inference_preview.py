"""`fabnet preview`: what it gathers of a video, in how little memory, and the sheet that it draws."""

import cv2
import matplotlib.image
import numpy as np
import pytest
from inference_files import SIZE, write_colours

from fabnet.errors import UserError
from fabnet.faces.face_params import params_of
from fabnet.figures.pictures import save
from fabnet.figures.preview import COLOURS, ShownFrame, ShownTrack, clock, preview_sheet
from fabnet.inference.preview import Thinned, preview
from fabnet.video.crop import Box
from fabnet.video.faces import Face, Track, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.sources.clip_folders import Cropped

PARAMS = params_of({"source": "cropped"}, SIZE)


@pytest.mark.parametrize("count", [0, 1, 5, 10, 11, 12, 97, 1000])
def test_thinned_items_are_evenly_spaced_and_few(count):
    thinned, made = Thinned(5), []
    for number in range(count):
        thinned.add(lambda number=number: made.append(number) or number)
    assert thinned.items[:1] == [0][:count]
    assert min(5, count) <= len(thinned.items) <= 10
    assert len(set(np.diff(thinned.items))) <= 1
    assert not thinned.items or count - thinned.items[-1] <= max(np.diff(thinned.items), default=1)
    assert len(made) <= 10 + 5 * np.log2(max(count, 1))
    spread = thinned.spread(3)
    assert len(spread) == min(3, count)
    assert not spread or (spread[0], spread[-1]) == (thinned.items[0], thinned.items[-1])


def find_two(monkeypatch, last):
    def find(_self, clip):
        def faces(frames):
            tracks = [Track(name, "", "") for name in "ab"]
            for frame in frames:
                for number in frame.samples:
                    yield Face(tracks[0], number, frame.time_s, frame.image, Box(0, 0, 40, 40))
                    if number > 3:
                        yield Face(tracks[1], number, frame.time_s, frame.image, Box(40, 24, 100, 84))
            yield from last(tracks[1])

        return faces

    monkeypatch.setattr(Cropped, "find", find)


def pixels_of(path, number):
    """How many pixels of a sheet have the colour of a track."""
    colour = matplotlib.colors.to_rgb(COLOURS[number])
    picture = matplotlib.image.imread(path)[..., :3]
    return int((np.abs(picture - colour).max(axis=-1) < 0.01).sum())


def test_a_sheet_shows_tracks_boxes_and_rejects(monkeypatch, tmp_path):
    clip = write_colours(tmp_path / "mein Clip $x$ ü.mp4", 40)
    find_two(monkeypatch, lambda track: [TrackEnd(track, Rejected("lost", "seen in 3 of 9 frames"))])
    drawn = preview(str(clip), PARAMS)
    assert (drawn.frames, drawn.tracks, drawn.rejects) == (8, 2, ["track 1: lost: seen in 3 of 9 frames"])
    texts = [text.get_text() for text in drawn.sheet.texts]
    assert texts[0] == clip.name
    assert "80 × 64 px" in texts[1]
    assert "samples: 8, tracks: 2, faces: 12" in texts[1]
    assert {"track 0", "track 1", "8 faces", "4 faces", "0:04.0 – 0:07.0", "rejected: lost"} <= set(texts)
    save(drawn.sheet, tmp_path / "sheet.png", dpi=60)
    first, second, absent = (pixels_of(tmp_path / "sheet.png", number) for number in range(3))
    assert min(first, second) > 50
    assert absent == 0
    save(preview(str(clip), PARAMS).sheet, tmp_path / "again.png", dpi=60)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "sheet.png").read_bytes()


def test_what_extract_would_reject_is_said(monkeypatch, tmp_path):
    clip = write_colours(tmp_path / "clip.mp4", 40)
    find_two(monkeypatch, lambda track: [])
    assert preview(str(clip), PARAMS).rejects == []
    strict = PARAMS.model_copy(update={"min_frames": 6})
    assert preview(str(clip), strict).rejects == ["track 1: too_short: 4 frames with a face at 1 fps, of 6"]


def test_a_rejected_video_still_gives_a_sheet(monkeypatch, tmp_path):
    def broken(track):
        raise Rejected("truncated", "ends after 3.4 s")

    clip = write_colours(tmp_path / "clip.mp4", 13)
    find_two(monkeypatch, broken)
    drawn = preview(str(clip), PARAMS)
    assert drawn.rejects == ["truncated: ends after 3.4 s"]
    assert "rejected: truncated: ends after 3.4 s" in [text.get_text() for text in drawn.sheet.texts]


def test_a_file_without_a_frame_is_an_error(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"text\.mp4: unreadable: not a video"):
        preview(str(tmp_path / "text.mp4"), PARAMS)


def test_an_image_is_shown_too(tmp_path):
    cv2.imwrite(str(tmp_path / "face.png"), np.full((50, 70, 3), 120, np.uint8))
    drawn = preview(str(tmp_path / "face.png"), PARAMS)
    assert (drawn.frames, drawn.tracks, drawn.rejects) == (1, 1, [])


def test_what_is_no_file(tmp_path):
    with pytest.raises(UserError, match="is a folder; a preview shows one video"):
        preview(str(tmp_path), PARAMS)
    with pytest.raises(UserError, match="missing: does not exist"):
        preview(str(tmp_path / "missing"), PARAMS)


@pytest.mark.parametrize(("height", "width", "columns"), [(9, 16, 5), (10, 10, 7), (16, 9, 9)])
def test_frames_keep_their_shape_and_lie_in_rows(height, width, columns):
    image = np.zeros((height * 10, width * 10, 3), np.uint8)
    frames = [ShownFrame(time, image, [(0, -20, 5, 30, 40)]) for time in range(columns + 1)]
    tracks = [ShownTrack(n, 4, 0, 3, [(0.0, np.zeros((8, 8, 3), np.uint8))]) for n in range(3)]
    figure = preview_sheet("clip", ["x " * 200], "", frames, tracks, more_tracks=2)
    places = [axes.get_position() for axes in figure.axes[: len(frames)]]
    inches = figure.get_size_inches()
    for place in places:
        assert place.width * inches[0] / (place.height * inches[1]) == pytest.approx(width / height)
    assert len({round(place.y0, 6) for place in places}) == 2
    assert all(axes.get_position().y0 > 0 and axes.get_position().x1 < 1 for axes in figure.axes)
    assert "and 2 more tracks with fewer faces" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize(("frames", "crops"), [(1, 1), (2, 2), (3, 3), (6, 6), (8, 7), (15, 11)])
def test_frames_reach_the_right_edge_of_the_sheet(frames, crops):
    image, crop = np.zeros((90, 160, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    track = ShownTrack(0, crops, 0, 3, [(0.0, crop)] * crops)
    figure = preview_sheet("clip", ["x " * 200], "", [ShownFrame(0.0, image, [])] * frames, [track], more_tracks=1)
    right = 1 - 0.3 / figure.get_size_inches()[0]
    places = [axes.get_position() for axes in figure.axes]
    assert max(place.x1 for place in places[:frames]) == pytest.approx(right)
    assert max(place.x1 for place in places[frames:]) > (0.75 if crops > 3 else 0.5)
    texts = [text.get_text() for text in figure.texts]
    assert "and 1 more track with fewer faces" in texts
    assert f"{frames} sampled frame{'s' * (frames > 1)}, boxes coloured by track" in texts
    figure.draw_without_rendering()
    edge = figure.bbox.x1
    assert all(text.get_window_extent().x1 < edge for text in figure.texts)


def test_clock():
    assert [clock(s) for s in (0, 7.44, 59.96, 750, 3723.0)] == ["0:00.0", "0:07.4", "1:00.0", "12:30.0", "1:02:03.0"]
