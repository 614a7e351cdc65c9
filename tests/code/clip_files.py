"""Small video files for tests."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 64, 48


def grey_of(number: int) -> int:
    """Grey level that tells frame `number` (below 25) through lossy coding."""
    return 20 + 9 * number


def number_of(grey: float) -> int:
    return round((grey - 20) / 9)


def write_clip(path: Path, pts: Sequence[int], rate: int = 1000, rotation: int | None = None, **options: str) -> Path:
    """A video of plain grey frames (see grey_of) shown at `pts` / `rate` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, rate)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if not pts:
            container.start_encoding()
            return path
        for number, time in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), grey_of(number), np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_noise(path: Path, frames: int, rate: int = 25, **options: str) -> Path:
    """A video that does not compress, so that its bytes are spread over its time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(frames):
            image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A face-like blob on a slope of colours, each at another place; uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    near = np.hypot(x - width * (0.5 + 0.3 * np.sin(number)), y - height / 2) < height / 4
    slope = [x * 255 // width, y * 255 // height, np.full_like(x, number * 37 % 256)]
    return np.where(near[..., None], (230, 180, 150), np.stack(slope, -1)).astype(np.uint8)


def write_pictures(
    path: Path,
    pts: Sequence[int],
    codec: str = "libx264",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pix_fmt: str = "yuv420p",
    rate: int = 25,
    rotation: int | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    matrix: tuple[float, float, float, float] | None = None,
    sar: Fraction | None = None,
) -> Path:
    """A video of `picture` 0, 1 ... shown at `pts` / `rate` seconds.

    `matrix` is that of its display, a b c d, and `sar` the width over height of its pixels.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, rate)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if matrix is not None:
            a, b, c, d = (round(65536 * each) for each in matrix)
            stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        for number, time in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sizes(path: Path, *sizes: tuple[int, int], codec: str = "libx264", pix_fmt: str = "yuv420p") -> Path:
    """A second of `picture` in each of `sizes`, in one stream."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        for part, (width, height) in enumerate(sizes):
            encoder = stream.codec_context if part == 0 else av.CodecContext.create(codec, "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, pix_fmt
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            packets = []
            for number in range(25 * part, 25 * part + 25):
                frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24")
                frame = frame.reformat(format=pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += encoder.encode(frame)
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream = stream
                container.mux(packet)
    return path


def write_sound(path: Path) -> Path:
    """One second of silence without pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
