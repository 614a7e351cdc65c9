"""What a contact sheet of the embedded data shows."""

import numpy as np

from fabnet.config import SynthesizeParams
from fabnet.synthetic.faces import face_identity, portraits_of
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.landmarks import landmarks68
from fabnet.synthetic.render import render
from fabnet.synthetic.state import FaceState
from fabnet.synthetic.videos import interview_of, video_identity

_SIZE = 128
_COLUMNS = 8
_VIDEOS = 5
_PEOPLE = 3


def sample_sheet(params: SynthesizeParams) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw frames of the first videos, then faces of the first labelled people with their landmarks, a row each.

    Returns:
        images uint8 (rows, columns, size, size, 3), landmarks (rows, columns, 68, 2) with NaN for video frames, titles
        of the rows.
    """
    rows: list[tuple[str, Identity, list[FaceState], bool]] = []
    for number in range(min(_VIDEOS, params.videos.identities)):
        identity, interview = interview_of(params.seed, number, params.videos.seconds)
        times = np.arange(_COLUMNS) * params.videos.seconds / _COLUMNS
        rows.append((video_identity(number), identity, [interview(float(time)) for time in times], False))
    people = params.faces.train + params.faces.validation + params.faces.test
    for number in range(min(_PEOPLE, people)):
        identity, sampled = portraits_of(params.seed, number, max(_COLUMNS, params.faces.per_identity))
        rows.append((face_identity(number), identity, [portrait.state for portrait in sampled[:_COLUMNS]], True))

    images = np.empty((len(rows), _COLUMNS, _SIZE, _SIZE, 3), np.uint8)
    landmarks = np.full((len(rows), _COLUMNS, 68, 2), np.nan)
    for row, (_, identity, states, labelled) in enumerate(rows):
        for column, state in enumerate(states):
            images[row, column] = render(identity, state, _SIZE)
            if labelled:
                landmarks[row, column] = landmarks68(identity, state, _SIZE)
    return images, landmarks, [title for title, *_ in rows]
