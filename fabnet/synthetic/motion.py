"""How a head moves and speaks in a video: one interview as a continuous function of time.

Interviews hold the head mostly frontal and calm, some nearly still, while expressions and speech change fast, so that
most pairs of frames of a video differ by expression more than by pose. Every statistic of that is a constant here.
"""

from dataclasses import dataclass

import numpy as np

from fabnet.synthetic.portable import exponential, normal
from fabnet.synthetic.state import FaceState, Light, sample_expression
from fabnet.tables import EXPRESSIONS, UNITS

#: Kinds of clips: share, standard deviation of yaw, pitch, roll in degrees, seconds between knots of the pose track.
CLIPS = {
    "still": (0.55, (3.0, 2.0, 1.2), 3.0),
    "calm": (0.25, (14.0, 6.0, 4.0), 2.2),
    "lively": (0.20, (32.0, 11.0, 7.5), 1.8),
}

#: Where a clip's head rests: standard deviation of yaw, pitch, roll over clips of a kind, in multiples of the above.
REST_SPREAD = 0.6
POSE_LIMITS = (60.0, 30.0, 25.0)

#: Seconds that an expression lasts, seconds of its onset, least and greatest strength.
EXPRESSION_REST = (0.8, 1.9)
EXPRESSION_RAMP = 0.35
EXPRESSION_STRENGTH = (0.7, 1.0)

#: Units that come on their own: mean pause between two, duration (s), intensity.
UNIT_PAUSE = 7.0
UNIT_DURATION = (0.5, 1.6)
UNIT_INTENSITY = (0.5, 1.0)
SPEECH_PAUSE = 1.5
SPEECH_DURATION = (1.0, 4.0)
SYLLABLES_PER_S = 4.3
BLINK_PAUSE = 3.2
BLINK_DURATION = (0.18, 0.32)
GAZE_REST = (0.5, 2.5)
GAZE_SPREAD = 0.30

#: Range of a clip's scale: faces fill the crop.
SCALE = (1.10, 1.22)

#: Hand-held camera: standard deviations of shift (fractions of the side) and of scale, seconds between knots.
CAMERA_SHIFT = 0.010
CAMERA_SCALE = 0.012
CAMERA_SPACING = 1.2
LIGHT_SPACING = 6.0
BACKGROUNDS = ("gradient", "blobs", "bokeh")
SATURATION = 0.45


@dataclass(frozen=True)
class Wander:
    """A smooth random function: normal values at regular knots, joined by cubics. About unit deviation."""

    knots: np.ndarray
    spacing: float  # seconds

    @staticmethod
    def sample(rng: np.random.Generator, seconds: float, spacing: float) -> "Wander":
        """Draw a function of time.

        Args:
            rng: that draws the knots.
            seconds: length of the video.
            spacing: of the knots, in seconds: how slowly it wanders.
        """
        return Wander(normal(rng, int(np.ceil(seconds / spacing)) + 4), spacing)

    def __call__(self, time: float) -> float:
        place = time / self.spacing
        index = min(int(place), len(self.knots) - 4)
        t = place - index
        a, b, c, d = self.knots[index : index + 4]
        return float(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))


@dataclass(frozen=True)
class Event:
    """Something that sets in, holds and fades: `value` from start to end, with ramps of `onset` and `decay` seconds."""

    start: float
    end: float
    onset: float
    decay: float
    value: float

    def __call__(self, time: float) -> float:
        if not self.start < time < self.end:
            return 0.0
        return self.value * min(_ease((time - self.start) / self.onset), _ease((self.end - time) / self.decay))


def events(
    rng: np.random.Generator,
    seconds: float,
    pause: float,
    duration: tuple[float, float],
    onset: float,
    decay: float,
    value: tuple[float, float],
) -> list[Event]:
    """Events with exponential pauses of mean `pause` seconds between them, uniform `duration` and `value`.

    Args:
        rng: that draws them.
        seconds: length of the video.
        pause: in seconds.
        duration: least and greatest, in seconds.
        onset, decay: seconds from nothing to the full value, and back.
        value: least and greatest.
    """
    found = []
    time = exponential(rng, pause) - duration[1]
    while time < seconds:
        end = time + float(rng.uniform(*duration))
        found.append(Event(time, end, onset, decay, float(rng.uniform(*value))))
        time = end + exponential(rng, pause)
    return found


def strongest(found: list[Event], time: float) -> float:
    """The greatest value of the events at a time, 0 between them.

    Args:
        found: events, which may overlap.
        time: in seconds.
    """
    return max((event(time) for event in found), default=0.0)


@dataclass(frozen=True)
class Steps:
    """A function that rests on values (n, k) and moves to each within `ramp` seconds after its time (n,)."""

    times: np.ndarray
    values: np.ndarray
    ramp: float

    def __call__(self, time: float) -> np.ndarray:
        index = max(int(np.searchsorted(self.times, time, side="right")) - 1, 0)
        before = self.values[max(index - 1, 0)]
        return before + _ease((time - self.times[index]) / self.ramp) * (self.values[index] - before)


def step_times(rng: np.random.Generator, seconds: float, rest: tuple[float, float]) -> np.ndarray:
    """Times from before 0 to after `seconds`, apart by uniform rests.

    Args:
        rng: that draws them.
        seconds: length of the video.
        rest: least and greatest, in seconds.
    """
    times = [-float(rng.uniform(*rest))]
    while times[-1] < seconds:
        times.append(times[-1] + float(rng.uniform(*rest)))
    return np.asarray(times)


def _ease(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


class Interview:
    """One video: call it with a time in seconds, up to `seconds`, for the state of the face then."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        self.kind = str(rng.choice(list(CLIPS), p=[share for share, _, _ in CLIPS.values()]))
        _, spread, spacing = CLIPS[self.kind]
        self._rest = normal(rng, 3) * spread * REST_SPREAD
        self._spread = np.asarray(spread) * np.sqrt(1 - REST_SPREAD * REST_SPREAD)
        self._pose = [Wander.sample(rng, seconds, spacing) for _ in range(3)]
        self._camera = [Wander.sample(rng, seconds, CAMERA_SPACING) for _ in range(3)]
        self._scale = float(rng.uniform(*SCALE))
        self._expressions = _expressions(rng, seconds)
        self._units = [_bursts(rng, seconds) for _ in UNITS]
        self._talk = events(rng, seconds, SPEECH_PAUSE, SPEECH_DURATION, 0.2, 0.2, (0.6, 1.0))
        self._opening = Wander.sample(rng, seconds, 0.5 / SYLLABLES_PER_S)
        self._blinks = events(rng, seconds, BLINK_PAUSE, BLINK_DURATION, 0.08, 0.10, (1.0, 1.0))
        times = step_times(rng, seconds, GAZE_REST)
        self._gaze = Steps(times, np.clip(GAZE_SPREAD * normal(rng, len(times), 2), -1, 1), 0.06)
        self._light = [Wander.sample(rng, seconds, LIGHT_SPACING) for _ in range(3)]
        self._lamp = (
            rng.uniform(-50, 50),
            rng.uniform(5, 55),
            rng.uniform(0.5, 0.9),
            rng.uniform(0.32, 0.58),
            rng.uniform(-0.7, 0.7),
        )

    def __call__(self, time: float) -> FaceState:
        limits = np.asarray(POSE_LIMITS)
        pose = self._rest + self._spread * [track(time) for track in self._pose]
        yaw, pitch, roll = (float(value) for value in _fold(pose, limits))
        expression = self._expressions(time)
        units = np.maximum(expression[:-1], [strongest(bursts, time) for bursts in self._units])
        units = self._speak(units, time)
        x, y, zoom = (track(time) for track in self._camera)
        gaze = self._gaze(time)
        return FaceState(
            yaw=yaw,
            pitch=pitch,
            roll=roll,
            units=tuple(float(value) for value in np.clip(units, 0, 1)),
            asymmetry=float(expression[-1]),
            blink=strongest(self._blinks, time),
            gaze=(float(gaze[0]), float(gaze[1])),
            shift=(CAMERA_SHIFT * x, CAMERA_SHIFT * y),
            scale=self._scale * (1 + CAMERA_SCALE * zoom),
            light=self._lit(time),
        )

    def _speak(self, units: np.ndarray, time: float) -> np.ndarray:
        talk = strongest(self._talk, time)
        opening = talk * min(max(0.45 + 0.55 * self._opening(time), 0.0), 1.0)
        units[UNITS.index(25)] = max(units[UNITS.index(25)], min(1.0, 1.4 * opening))
        units[UNITS.index(26)] = max(units[UNITS.index(26)], 0.65 * opening)
        return units

    def _lit(self, time: float) -> Light:
        azimuth, elevation, key, ambient, warmth = self._lamp
        a, e, k = (track(time) for track in self._light)
        return Light(
            azimuth=float(azimuth + 7 * a),
            elevation=float(np.clip(elevation + 4 * e, 0, 70)),
            key=float(np.clip(key * (1 + 0.05 * k), 0.4, 1.0)),
            ambient=float(ambient),
            warmth=float(warmth),
        )


def _expressions(rng: np.random.Generator, seconds: float) -> Steps:
    """Units and asymmetry, (12,), of one expression after another; never the same twice running."""
    times = step_times(rng, seconds, EXPRESSION_REST)
    values = np.zeros((len(times), len(UNITS) + 1))
    last = ""
    for row in values:
        last = str(rng.choice([name for name in EXPRESSIONS if name != last]))
        expression = sample_expression(rng, last, float(rng.uniform(*EXPRESSION_STRENGTH)))
        row[:-1], row[-1] = expression.units, expression.asymmetry
    return Steps(times, values, EXPRESSION_RAMP)


def _bursts(rng: np.random.Generator, seconds: float) -> list[Event]:
    return events(rng, seconds, UNIT_PAUSE, UNIT_DURATION, 0.2, 0.3, UNIT_INTENSITY)


def _fold(pose: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Bend angles smoothly below their limits: hardly changed up to two thirds of them."""
    share = pose / limits
    return pose / np.sqrt(np.sqrt(1 + share * share * share * share))
