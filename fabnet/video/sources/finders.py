"""What sources share: the frames of a video file under params, and faces for which nobody has to look."""

from collections.abc import Callable, Iterator, Sequence

from fabnet.config import ExtractParams
from fabnet.video.boxes import BoxTrack
from fabnet.video.clips import Clip
from fabnet.video.crop import centred_square, square
from fabnet.video.decode import frames
from fabnet.video.faces import Face, FindFaces, Frame, Tally, TrackEnd
from fabnet.video.reject import Rejected


def decoded(
    clip: Clip,
    params: ExtractParams,
    tally: Tally | None,
    every: int | None = None,
    span: tuple[float, float] | None = None,
) -> Iterator[Frame]:
    """The frames of a video file; see fabnet.video.decode.frames.

    Args:
        clip: the file.
        params: fps, clip_limit_s and max_damaged.
        tally, every, span: as there.
    """
    return frames(clip.path, params.fps, every, span, params.clip_limit_s, params.max_damaged, tally)


def centred(clip: Clip) -> FindFaces:
    """Takes every sample of a clip as one track: the centred square of each."""

    def find(frames: Iterator[Frame]) -> Iterator[Face | TrackEnd]:
        track = clip.track(0)
        for frame in frames:
            height, width = frame.image.shape[:2]
            for number in frame.samples:
                yield Face(track, number, frame.time_s, frame.image, centred_square(width, height))

    return find


def annotated(tracks: Callable[[], Sequence[BoxTrack]], margin: float) -> FindFaces:
    """Finds the faces of what `tracks` returns: boxes interpolated in time, grown by `margin` and made square.

    Args:
        tracks: called when the first frame comes, in the worker.
        margin: share of a box's longer side, added on each side.
    """

    def find(frames: Iterator[Frame]) -> Iterator[Face | TrackEnd]:
        coming = sorted(tracks(), key=lambda track: (track.start_s, track.track.id))
        seen: list[BoxTrack] = []
        clamped: dict[str, int] = {}
        for frame in frames:
            while coming and coming[0].start_s <= frame.time_s:
                seen.append(coming.pop(0))
            for track in list(seen):
                try:
                    if frame.time_s > track.end_s:
                        seen.remove(track)
                        yield TrackEnd(track.track, clamped=clamped.pop(track.track.id, 0))
                    elif frame.samples:
                        if track.track.id not in clamped:
                            clamped[track.track.id] = track.count_clamped(*_size(frame))
                        yield from _faces(track, frame, margin)
                except Rejected as rejected:
                    seen.remove(track)
                    yield TrackEnd(track.track, rejected)
        for track in seen + coming:
            yield TrackEnd(track.track, clamped=clamped.get(track.track.id, 0))

    return find


def span(tracks: Sequence[BoxTrack]) -> tuple[float, float]:
    """(start, end) in seconds of the part of a clip in which there are boxes."""
    return max(0.0, min(track.start_s for track in tracks)), max(track.end_s for track in tracks)


def _faces(track: BoxTrack, frame: Frame, margin: float) -> Iterator[Face]:
    box = track.at(frame.time_s, *_size(frame))
    if box is not None:
        for number in frame.samples:
            yield Face(track.track, number, frame.time_s, frame.image, square(box, margin))


def _size(frame: Frame) -> tuple[int, int]:
    height, width = frame.image.shape[:2]
    return width, height
