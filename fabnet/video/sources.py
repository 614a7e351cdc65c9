"""Where the face is in a frame of a clip, according to the source of the clips."""

from collections.abc import Callable

from fabnet.video.boxes import BoxTrack
from fabnet.video.crop import Box, centred_square, square
from fabnet.video.reject import Rejected

# A wider box shows next to nothing of its frame, and padding it would fill the memory.
_MAX_SIDES = 10


#: Finds the face in a frame of one clip from (time in s, width, height): the square to crop, with whole-pixel edges, or
#: None where there is no face. Raises Rejected where the clip is of no use.
Faces = Callable[[float, int, int], Box | None]


def cropped(time_s: float, width: int, height: int) -> Box | None:
    """Clips that show one face already: a centred square of every frame."""
    return centred_square(width, height)


def boxed(boxes: BoxTrack, margin: float, reach_s: float) -> Faces:
    """Clips with a box at some times: interpolated, grown by `margin` and made square. See BoxTrack.at."""
    if len(boxes) == 0:
        raise Rejected("no_boxes", "the table of boxes has no row for this clip")

    def face(time_s: float, width: int, height: int) -> Box | None:
        box = boxes.at(time_s, reach_s)
        if box is None:
            return None
        crop = square(box, margin)
        seen = box.touches(width, height) and crop.touches(width, height)
        if not seen or crop.right - crop.left > _MAX_SIDES * max(width, height):
            edges = ", ".join(f"{edge:g}" for edge in (box.left, box.top, box.right, box.bottom))
            raise Rejected("box_outside", f"({edges}) at {time_s:.2f} s in a frame of {width} x {height}")
        return crop

    return face
