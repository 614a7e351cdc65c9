"""Pictures as players show them, against NumPy, published values of light, and FFmpeg's command where there is one."""

import shutil
import subprocess
from fractions import Fraction
from itertools import product
from pathlib import Path
from struct import pack

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from fabnet.video.decode import frames
from fabnet.video.picture import Orientation, orientation
from fabnet.video.reject import Rejected
from fabnet.video.tone import Light, ToneMapper, graded, mapped_colours
from tests.code.clip_files import HEIGHT, WIDTH, picture, write_pictures, write_sizes

SHARED = Path(__file__).parents[2] / ".." / "shared" / "faults"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared inputs are not here")
FFMPEG = shutil.which("ffmpeg")

#: a b c d of the display matrices of the eight orientations: (x, y) moves to (a x + c y, b x + d y).
EIGHT = [
    *((1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)),
    *((0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0)),
]
FINE = {"preset": "ultrafast", "crf": "8"}


def first(path: Path) -> NDArray[np.uint8]:
    return next(iter(frames(path, 1.0))).image


def by_ffmpeg(path: Path, shape: tuple[int, ...], filters: str) -> NDArray[np.uint8]:
    """The first frame, turned as FFmpeg does by itself, then filtered."""
    command = [FFMPEG, "-v", "error", "-i", path, "-vf", filters, "-frames:v", "1", "-f", "rawvideo"]
    done = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(shape)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


# -- turned -------------------------------------------------------------------------------------------------------


def moved(image: NDArray[np.uint8], matrix: tuple[int, ...]) -> NDArray[np.uint8]:
    """Every pixel to where the matrix sends it."""
    a, b, c, d = matrix
    height, width = image.shape[:2]
    places = {(x, y): (a * x + c * y, b * x + d * y) for x, y in product(range(width), range(height))}
    left, top = (min(place[i] for place in places.values()) for i in (0, 1))
    right, bottom = (max(place[i] for place in places.values()) for i in (0, 1))
    turned = np.zeros((bottom - top + 1, right - left + 1, 3), np.uint8)
    for (x, y), (to_x, to_y) in places.items():
        turned[to_y - top, to_x - left] = image[y, x]
    return turned


def matrix_of(a: float, b: float, c: float, d: float) -> bytes:
    return pack("=9i", *(round(65536 * each) for each in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)


@pytest.mark.parametrize("matrix", EIGHT)
def test_eight_orientations(tmp_path, matrix):
    plain = first(write_pictures(tmp_path / "plain.mp4", [0, 1], options=FINE))
    turned = first(write_pictures(tmp_path / "turned.mp4", [0, 1], options=FINE, matrix=matrix))
    np.testing.assert_array_equal(turned, moved(plain, matrix))
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("matrix", EIGHT)
def test_rounding_and_lengths_of_a_matrix_do_not_count(matrix):
    a, b, c, d = matrix
    exact = orientation(matrix_of(*matrix))
    assert orientation(matrix_of(2 * a, b, 2 * c, d)) == exact
    assert orientation(matrix_of(a + 0.004, b - 0.004, c + 0.004, d - 0.004)) == exact


@pytest.mark.parametrize(
    "matrix", [(0.7071, 0.7071, -0.7071, 0.7071), (1, 0.5, 0, 1), (1, 1, 1, 1), (0.98, 0.17, -0.17, 0.98)]
)
def test_no_quarter_turn(tmp_path, matrix):
    with pytest.raises(Rejected, match=r"unreadable.*display matrix .* turns it by no quarter or skews it"):
        orientation(matrix_of(*matrix))
    with pytest.raises(Rejected, match="display matrix"):
        first(write_pictures(tmp_path / "a.mp4", [0, 1], matrix=matrix))


def test_a_matrix_that_shows_nothing_is_ignored():
    for matrix in ((0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0)):
        assert orientation(matrix_of(*matrix)) == Orientation()
    assert orientation(None) == Orientation()


# -- square pixels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sar", "turned", "shape"),
    [
        (Fraction(64, 45), False, (48, 91, 3)),  # 64 * 64 / 45 = 91.02
        (Fraction(8, 9), False, (48, 56, 3)),
        (Fraction(64, 45), True, (64, 33, 3)),  # 48 * 45 / 64 = 33.75
        (Fraction(1, 4), False, (48, 16, 3)),
        (Fraction(0, 1), False, (48, 64, 3)),  # unknown
    ],
)
def test_pixels_become_square(tmp_path, sar, turned, shape):
    path = write_pictures(tmp_path / "a.mkv", [0, 1], options=FINE, sar=sar, matrix=(0, 1, -1, 0) if turned else None)
    if turned and path.suffix == ".mkv":  # Matroska keeps turns and pixels as MP4 does
        assert shape[0] == WIDTH
    assert first(path).shape == shape


def test_a_circle_is_round(tmp_path):
    y, x = np.mgrid[:120, :160]
    wide = np.hypot((x - 80) * 64 / 45, y - 60) < 40
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=FINE)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        image = np.repeat(255 * wide[..., None].astype(np.uint8), 3, axis=-1)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    inside = first(path)[..., 0] > 127
    assert np.ptp(np.flatnonzero(inside.any(axis=0))) == pytest.approx(
        np.ptp(np.flatnonzero(inside.any(axis=1))), abs=2
    )


@pytest.mark.parametrize("sar", [Fraction(1, 10), Fraction(10, 1)])
def test_pixels_that_no_player_shows(tmp_path, sar):
    with pytest.raises(Rejected, match=r"unreadable.*its pixels are \d+:\d+, which no player shows"):
        first(write_pictures(tmp_path / "a.mkv", [0, 1], sar=sar))


def test_pixels_that_libav_does_not_believe_either(tmp_path):
    """Of which less than one would be left; players show them as square."""
    assert first(write_pictures(tmp_path / "a.mkv", [0, 1], sar=Fraction(1, 1000))).shape == (HEIGHT, WIDTH, 3)


def test_the_smallest_frame(tmp_path):
    for sar in (Fraction(1), Fraction(1, 4), Fraction(4)):
        image = first(write_pictures(tmp_path / "a.mkv", [0, 1], size=(8, 8), sar=sar))
        assert image.shape == (8, int(8 * sar), 3)


def test_the_size_changes_at_every_key_frame(tmp_path):
    sizes = [(64, 48), (96, 72), (48, 64), (8, 8), (32, 24)]
    shown = [frame.image.shape[:2] for frame in frames(write_sizes(tmp_path / "a.mkv", *sizes), 1.0)]
    assert shown == [(height, width) for width, height in sizes]


@pytest.mark.skipif(FFMPEG is None, reason="there is no ffmpeg")
@pytest.mark.parametrize("sar", [Fraction(1), Fraction(64, 45), Fraction(8, 9)])
@pytest.mark.parametrize("matrix", EIGHT)
def test_as_ffmpeg_shows_it(tmp_path, matrix, sar):
    path = write_pictures(tmp_path / "a.mp4", [0, 1], size=(180, 144), options=FINE, matrix=matrix, sar=sar)
    image = first(path)
    # libav's own filters interpolate chroma in other ways at the one hard edge of this picture.
    assert difference(image, by_ffmpeg(path, image.shape, "scale=iw*sar:ih:flags=bilinear,setsar=1")) <= 1.5


@shared
@pytest.mark.skipif(FFMPEG is None, reason="there is no ffmpeg")
@pytest.mark.parametrize("name", ["2/hflip.mp4", "2/vflip.mp4", "3/pal_wide.mp4", "3/ntsc.mp4"])
def test_real_faces_as_ffmpeg_shows_them(name):
    image = first(SHARED / name)
    assert difference(image, by_ffmpeg(SHARED / name, image.shape, "scale=iw*sar:ih,setsar=1")) <= 1


@shared
@pytest.mark.parametrize(("name", "shape"), [("pal_wide", (576, 1024, 3)), ("ntsc", (480, 640, 3))])
def test_real_anamorphic_clips(name, shape):
    assert first(SHARED / "3" / f"{name}.mp4").shape == shape


# -- which stream -------------------------------------------------------------------------------------------------


def test_the_stream_flagged_default_is_shown(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, width, flags in zip(streams, (64, 96), (Disposition(0), Disposition.default), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            stream.disposition = flags
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(picture(0, stream.width, 48), format="rgb24")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    assert first(path).shape == (48, 96, 3)


# -- high dynamic range -------------------------------------------------------------------------------------------

#: Code of PQ, cd/m2 (BT.2100 and BT.2408); and of HLG on a display of 1000.
PQ_GREYS = {0.0: 0.0, 0.5081: 100.0, 0.5807: 203.0, 0.7518: 1000.0}
HLG_GREYS = {0.0: 0.0, 0.75: 203.0, 1.0: 1000.0}


#: What a film is graded for that says nothing, or that its brightest is 1000, 203 or 100 cd/m2.
PLAIN, BRIGHT, PAPER, DIM = Light(100, 1000), Light(203, 1000), Light(203, 203), Light(100, 100)


@pytest.mark.parametrize(
    ("transfer", "told", "light"),
    [
        ("pq", None, PLAIN),
        ("pq", 1000, BRIGHT),
        ("pq", 203, PAPER),
        ("pq", 100, DIM),
        ("pq", 150, Light(150, 150)),
        ("pq", 4000, Light(203, 4000)),
        ("pq", 1, DIM),
        ("pq", 1e9, PLAIN),
        ("pq", -5, PLAIN),
        ("hlg", None, BRIGHT),
        ("hlg", 100, BRIGHT),
    ],
)
def test_the_light_that_a_film_was_graded_for(transfer, told, light):
    assert graded(transfer, told) == light


@pytest.mark.parametrize("light", [PLAIN, BRIGHT, PAPER, DIM])
@pytest.mark.parametrize(("transfer", "greys"), [("pq", PQ_GREYS), ("hlg", HLG_GREYS)])
def test_greys_keep_their_light_up_to_the_knee_and_their_order_beyond(transfer, greys, light):
    codes = np.linspace(0, max(greys), 500)
    mapped = np.minimum(mapped_colours(np.repeat(codes[:, None], 3, axis=1), transfer, light), 1)
    assert np.ptp(mapped, axis=1).max() < 2e-3  # grey stays grey; the matrix has four digits
    assert (np.diff(mapped[:, 0]) > -1e-12).all()
    assert mapped[-1] == pytest.approx([1, 1, 1], abs=2e-3)  # the peak is white
    dark = mapped[:, 0] < 0.3 ** (1 / 2.4)
    formula = {"pq": pq, "hlg": hlg}[transfer]
    np.testing.assert_allclose(
        light.white * mapped[dark, 0] ** 2.4, [formula(code) for code in codes[dark]], rtol=2e-3, atol=1e-3
    )
    for code, nits in greys.items():
        assert formula(code) == pytest.approx(nits, rel=2e-3, abs=1e-6)


def pq(code: float) -> float:
    """cd/m2, by the constants as SMPTE ST 2084 has them in decimals."""
    root = code ** (1 / 78.84375)
    return 10000 * (max(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)


def hlg(code: float) -> float:
    """cd/m2 of a grey on a display of 1000."""
    scene = code**2 / 3 if code <= 0.5 else (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return float(1000 * scene**1.2)


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_libavs_table_is_near_the_formulas(transfer):
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.integers(low, high, (60, 64, 3), np.uint16) for low, high in ((0, 65535), (2e4, 36e3))])
    mapper = ToneMapper(transfer, ColorPrimaries.BT2020, PLAIN)
    mapped = mapper.mapped(av.VideoFrame.from_ndarray(codes, format="rgb48le"))
    exact = np.round(255 * np.minimum(mapped_colours(codes / 65535, transfer, PLAIN), 1))
    assert np.abs(mapped - exact).mean() < 0.7
    assert np.quantile(np.abs(mapped - exact), 0.95) <= 3


def test_primaries_of_standard_range_are_kept():
    codes = np.full((1, 1, 3), [0.5, 0.3, 0.2])
    assert mapped_colours(codes, "pq", PLAIN, True) != pytest.approx(mapped_colours(codes, "pq", PLAIN), abs=0.01)
    light = np.array([pq(code) for code in (0.5, 0.3, 0.2)])
    mapped = mapped_colours(codes, "pq", PLAIN, narrow=True)[0, 0]
    assert mapped[1:] / mapped[:-1] == pytest.approx((light[1:] / light[:-1]) ** (1 / 2.4), rel=1e-6)


def write_high(
    path: Path, trc: ColorTrc, space: Colorspace = Colorspace.BT2020, white: float = 100, told: str = ""
) -> Path:
    """Two frames of greys of up to `white` cd/m2, by the transfer function; `told` of their light as x265 takes it."""
    every = np.linspace(0, 1, 4000)
    light = [(pq if trc == ColorTrc.SMPTE2084 else hlg)(code) for code in every]
    codes = np.interp(white * np.linspace(0, 1, 64) ** 2.4, light, every)
    luma = np.round(64 + 876 * codes).astype(np.uint16)
    with av.open(str(path), "w") as container:
        params = f"log-level=none:lossless=1:bframes=0{told}"
        stream = container.add_stream("libx265", rate=25, options={"x265-params": params, "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        stream.time_base = context.time_base = Fraction(1, 25)
        context.color_trc, context.color_primaries, context.colorspace = trc, ColorPrimaries.BT2020, space
        context.color_range = ColorRange.MPEG
        for number in range(2):
            frame = av.VideoFrame(64, 48, "yuv420p10le")
            grey = np.full((24, 32), 512, np.uint16)
            for plane, values in zip(frame.planes, (np.tile(luma, (48, 1)), grey, grey), strict=True):
                padded = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                padded[:, : values.shape[1]] = values
                plane.update(padded.tobytes())
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def told(most: int | None, display: int | None) -> str:
    """MaxCLL and the peak of the display a film was graded on, cd/m2, as x265 takes them."""
    level = f":max-cll={most},0" if most is not None else ""
    primaries = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    return level + (f":master-display={primaries}L({10000 * display},1)" if display is not None else "")


@pytest.mark.parametrize("space", [Colorspace.BT2020, 2])
@pytest.mark.parametrize(
    ("trc", "light", "words"),
    [
        (ColorTrc.SMPTE2084, PLAIN, ""),
        (ColorTrc.SMPTE2084, BRIGHT, told(1000, 1000)),
        (ColorTrc.SMPTE2084, BRIGHT, told(0, 1000)),  # MaxCLL unknown
        (ColorTrc.SMPTE2084, DIM, told(100, 1000)),  # a film of standard range on a display of high range
        (ColorTrc.SMPTE2084, PAPER, told(10000, 203)),  # brighter than its display: a contradiction
        (ColorTrc.ARIB_STD_B67, BRIGHT, ""),
    ],
)
def test_a_clip_of_high_range(tmp_path, trc, space, light, words):
    """Below the knee it is the same film in standard range, whether or not the file tells its matrix of colours."""
    image = first(write_high(tmp_path / "a.mp4", trc, space, light.white, words))
    dark = np.linspace(0, 255, 64) < 255 * 0.3 ** (1 / 2.4)
    for row in image[:, :, 1]:
        np.testing.assert_allclose(row[dark], np.linspace(0, 255, 64)[dark], atol=4)
    assert (np.diff(image[0, :, 0].astype(int)) >= 0).all()
    if light.peak == light.white:  # nothing is bent
        np.testing.assert_allclose(image[0, :, 1], np.linspace(0, 255, 64), atol=4)


@pytest.mark.skipif(FFMPEG is None, reason="there is no ffmpeg")
@pytest.mark.parametrize(
    ("trc", "light", "words"),
    [
        (ColorTrc.SMPTE2084, PLAIN, ""),
        (ColorTrc.SMPTE2084, BRIGHT, told(1000, 1000)),
        (ColorTrc.SMPTE2084, DIM, told(100, 100)),
        (ColorTrc.ARIB_STD_B67, BRIGHT, ""),
    ],
)
def test_high_range_as_ffmpeg_maps_it(tmp_path, trc, light, words):
    path = write_high(tmp_path / "a.mp4", trc, white=light.white, told=words)
    assert difference(first(path), by_ffmpeg(path, (48, 64, 3), mapping(light))) <= 2


def mapping(light: Light) -> str:
    """The usual command line, with a build that has zscale."""
    return (
        f"zscale=t=linear:npl={light.white:g},format=gbrpf32le,zscale=p=bt709,"
        f"tonemap=mobius:desat=0:peak={light.peak / light.white:g},zscale=t=bt709:m=bt709:r=tv,format=yuv444p"
    )


def test_what_the_first_picture_says_holds_for_all(tmp_path, monkeypatch):
    said = iter([100.0, 1000.0])
    monkeypatch.setattr("fabnet.video.picture.brightest_told", lambda frame: next(said))
    shown = list(frames(write_high(tmp_path / "a.mp4", ColorTrc.SMPTE2084), 25.0))
    assert difference(shown[0].image, shown[1].image) == 0


@shared
def test_a_real_face_of_high_range():
    high, standard = first(SHARED / "6/hdr10.mp4"), first(SHARED / "6/sdr.mp4")
    assert difference(high, standard) < 8  # 44 before
    assert high.std() == pytest.approx(standard.std(), rel=0.12)
    if FFMPEG is not None:
        assert difference(high, by_ffmpeg(SHARED / "6/hdr10.mp4", high.shape, mapping(PLAIN))) <= 1.5


def test_frames_of_standard_range_do_not_pass_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(ToneMapper, "mapped", None)
    assert first(write_pictures(tmp_path / "a.mp4", [0, 1])).shape == (HEIGHT, WIDTH, 3)
