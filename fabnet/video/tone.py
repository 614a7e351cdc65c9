"""Pictures of high dynamic range (PQ, HLG) on a display of standard range, as players show them.

A table of colours is computed here and applied by libav's filter `lut3d`. libav's own filters for the mapping need
zscale or a GPU to make light linear, and PyAV's build has neither (docs/decisions/0024-pictures-as-shown.md).
"""

import tempfile
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

import av.filter
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

Transfer = Literal["pq", "hlg"]

#: By libav's number of the transfer characteristic.
TRANSFERS: dict[int, Transfer] = {ColorTrc.SMPTE2084: "pq", ColorTrc.ARIB_STD_B67: "hlg"}

# Exponent of a reference display of standard range (BT.1886), and its white in cd/m2 (BT.2035).
_GAMMA, _DIM_WHITE = 2.4, 100.0
# White of paper in films that were graded for high range (BT.2408): 58 % of PQ's codes, 75 % of HLG's.
_GRADED_WHITE = 203.0
# What a display of high range shows where nobody says more, and what PQ has codes for, cd/m2.
_USUAL_PEAK, _MOST = 1000.0, 10000.0
# The curve leaves what is darker as it is, in units of the white.
_KNEE = 0.3

# Of libav's `lut3d`: at 33 colours a side it is 0.3 of 255 from the formulas on average.
_SIDE = 33

_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
# System gamma of a display of 1000 cd/m2 (BT.2100, table 5), and the luminance of BT.2020's primaries.
_HLG_SYSTEM = 1.2
_LUMA = np.array([0.2627, 0.6780, 0.0593])

# Linear light of BT.2020 to BT.709 (BT.2087).
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])


class Light(NamedTuple):
    """What a film's light means to a display of standard range, in cd/m2: its `white`, and its brightest, `peak`."""

    white: float
    peak: float


def graded(transfer: Transfer, brightest_told: float | None = None) -> Light:
    """The light that a film was graded for.

    A film in which nothing is said to be brighter than 203 cd/m2 has no highlights: it is one of standard range in
    other codes, and its brightest is its white. One that is said to be brighter was graded for high range, where white
    is at 203 (BT.2408), and so was every film in HLG. A film in PQ that says nothing has its white where FFmpeg's
    `zscale` and `tonemap` have it by default: at 100.

    Args:
        transfer: how codes mean light.
        brightest_told: by the file, cd/m2; None, or beyond what PQ has codes for, is nothing said.
    """
    if transfer == "hlg":
        return Light(_GRADED_WHITE, _USUAL_PEAK)
    if brightest_told is None or not 0 < brightest_told <= _MOST:
        return Light(_DIM_WHITE, _USUAL_PEAK)
    # A word of less than the dimmest white is an error: nothing was graded for such a display.
    peak = max(brightest_told, _DIM_WHITE)
    return Light(min(peak, _GRADED_WHITE), peak)


class ToneMapper:
    """Maps the pictures of one transfer function, set of primaries and light.

    Args:
        transfer: how codes mean light.
        primaries: of the pictures, by libav's number: those of BT.709 are kept, others are taken for BT.2020's.
        light: that the film was graded for.
    """

    def __init__(self, transfer: Transfer, primaries: int, light: Light) -> None:
        self._table = _cube(transfer, primaries == ColorPrimaries.BT709, light)
        self._graph: tuple[tuple[int, int], av.filter.Graph] | None = None

    def mapped(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) of a frame in format rgb48le."""
        size = frame.width, frame.height
        if self._graph is None or self._graph[0] != size:
            self._graph = size, _graph_of(self._table, *size)
        graph = self._graph[1]
        frame.pts = None
        graph.push(frame)
        mapped = graph.pull()
        assert isinstance(mapped, VideoFrame)
        return ((mapped.to_ndarray().astype(np.uint32) + 128) // 257).astype(np.uint8)


def mapped_colours(
    codes: NDArray[np.float64], transfer: Transfer, light: Light, narrow: bool = False
) -> NDArray[np.float64]:
    """What a display of standard range is told for colours of high range.

    Light is scaled such that the film's white is 1, brought to BT.709's primaries, and multiplied such that the largest
    of R, G and B follows the Moebius curve: it leaves the dark alone and bends what is brighter into the range (as
    `tonemap=mobius:desat=0:peak=PEAK/WHITE` after `zscale=t=linear:npl=WHITE` does in FFmpeg).

    Args:
        codes: R'G'B' (..., 3) from 0 to 1.
        transfer: how codes mean light.
        light: that the film was graded for.
        narrow: the primaries are those of BT.709 already.

    Returns:
        R'G'B' (..., 3), for a display of BT.1886, which shows what is above 1 as 1.
    """
    linear = (_pq_light if transfer == "pq" else _hlg_light)(codes) / light.white
    if not narrow:
        linear = linear @ _TO_709.T
    brightest = np.maximum(linear.max(axis=-1, keepdims=True), 1e-6)
    linear = linear * (_moebius(brightest, light.peak / light.white) / brightest)
    return np.maximum(linear, 0) ** (1 / _GAMMA)


def _moebius(signal: NDArray[np.float64], peak: float) -> NDArray[np.float64]:
    """The identity up to the knee, from there, with its slope, a Moebius transform that takes the peak to 1."""
    knee = _KNEE
    if peak - 1 < 1e-6:
        return signal  # nothing to bend; the formula would divide by 0
    a = -knee * knee * (peak - 1) / (knee * knee - 2 * knee + peak)
    b = (knee * knee - 2 * knee * peak + peak) / (peak - 1)
    bent = (b * b + 2 * b * knee + knee * knee) / (b - a) * (signal + a) / (signal + b)
    return np.where(signal <= knee, signal, bent)


def _pq_light(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m2 (SMPTE ST 2084)."""
    root = codes ** (1 / _PQ_M2)
    return 10000 * (np.maximum(root - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * root)) ** (1 / _PQ_M1)


def _hlg_light(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m2 on a display of 1000 (ITU-R BT.2100)."""
    bright = (np.exp((np.maximum(codes, 0.5) - _HLG_C) / _HLG_A) + _HLG_B) / 12
    scene = np.where(codes <= 0.5, codes * codes / 3, bright)
    luma = np.maximum((scene * _LUMA).sum(axis=-1, keepdims=True), 1e-12)
    return 1000 * luma ** (_HLG_SYSTEM - 1) * scene


@lru_cache(maxsize=8)
def _cube(transfer: Transfer, narrow: bool, light: Light) -> str:
    """The table in the form of a .cube file: red changes fastest. What is above 1 is cut off after interpolation."""
    steps = np.linspace(0, 1, _SIDE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    colours = mapped_colours(np.stack([red, green, blue], axis=-1).reshape(-1, 3), transfer, light, narrow)
    rows = "\n".join("{:.6f} {:.6f} {:.6f}".format(*colour) for colour in colours.tolist())
    return f"LUT_3D_SIZE {_SIDE}\n{rows}\n"


def _graph_of(table: str, width: int, height: int) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    with tempfile.NamedTemporaryFile("w", suffix=".cube") as file:
        file.write(table)
        file.flush()
        source = graph.add_buffer(None, width, height, VideoFormat("rgb48le"), time_base=Fraction(1))
        mapping = graph.add("lut3d", file=file.name, interp="tetrahedral")
        sink = graph.add("buffersink")
        source.link_to(mapping)
        mapping.link_to(sink)
        graph.configure()
    return graph
