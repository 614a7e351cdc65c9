"""Smooth and eventful functions of time, each fixed by its random generator."""

from dataclasses import dataclass

import numpy as np

from fabnet.synthetic.seeds import exponential, normal


@dataclass(frozen=True)
class Wander:
    """A smooth random function: normal values at regular knots, joined by cubics. About unit deviation."""

    knots: np.ndarray
    spacing: float  # seconds

    @staticmethod
    def sample(rng: np.random.Generator, seconds: float, spacing: float) -> "Wander":
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
    """Events with exponential pauses of mean `pause` seconds between them, uniform `duration` and `value`."""
    found = []
    time = exponential(rng, pause) - duration[1]
    while time < seconds:
        end = time + float(rng.uniform(*duration))
        found.append(Event(time, end, onset, decay, float(rng.uniform(*value))))
        time = end + exponential(rng, pause)
    return found


def strongest(found: list[Event], time: float) -> float:
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
    """Times from before 0 to after `seconds`, apart by uniform rests."""
    times = [-float(rng.uniform(*rest))]
    while times[-1] < seconds:
        times.append(times[-1] + float(rng.uniform(*rest)))
    return np.asarray(times)


def _ease(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)
