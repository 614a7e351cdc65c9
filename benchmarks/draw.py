"""What drawing costs: `python -m benchmarks.draw`. Milliseconds of processor time, medians of rounds.

It calls what commits before it have as well: run with their folder in PYTHONPATH, in turns, it compares them.
"""

import statistics
import time

from fabnet.synthetic.faces import portraits_of
from fabnet.synthetic.landmarks import landmarks68
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of

_SEED, _SIZE, _PEOPLE, _ROUNDS = 2018, 96, 10, 5


def main() -> None:
    rounds = [_round() for _ in range(_ROUNDS)]
    frame, face, points = (statistics.median(values) for values in zip(*rounds, strict=True))
    print(f"frame of a video {frame:.1f} ms, labelled face and landmarks {face:.1f} ms, landmarks {points:.1f} ms")


def _round() -> tuple[float, float, float]:
    """Milliseconds for a frame of a video, for a labelled face with its landmarks, and for the landmarks of another."""
    frames = []
    for number in range(_PEOPLE):
        identity, interview = interview_of(_SEED, number, 12)
        frames.append((identity, [interview(second) for second in range(12)]))
    faces = [portraits_of(_SEED, number, 10) for number in range(_PEOPLE)]
    start = time.process_time()
    for identity, states in frames:
        for state in states:
            render(identity, state, _SIZE)
    middle = time.process_time()
    for identity, portraits in faces:
        for portrait in portraits:
            landmarks68(identity, portrait.state, _SIZE)
            render(identity, portrait.state, _SIZE)
    late = time.process_time()
    for identity, states in frames:
        for state in states:
            landmarks68(identity, state, _SIZE)
    end = time.process_time()
    return (
        1000 * (middle - start) / (12 * _PEOPLE),
        1000 * (late - middle) / (10 * _PEOPLE),
        1000 * (end - late) / (12 * _PEOPLE),
    )


if __name__ == "__main__":
    main()
