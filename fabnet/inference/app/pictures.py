"""Figures as parts of the page: captioned, described for who cannot see them, and held in the page itself."""

from base64 import b64encode
from html import escape
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure

from fabnet.config import ExtractParams
from fabnet.figures.face import expression_bars, face_readings, found_face, unit_bars
from fabnet.figures.flow import warped_pair
from fabnet.figures.preview import clock
from fabnet.figures.probes import ANGLES
from fabnet.figures.sheets import neighbour_sheet
from fabnet.inference.app.analysis import Analysis, Reader, warp
from fabnet.inference.app.gallery import Gallery
from fabnet.inference.timeline import Thumbnails, Timeline, notes, series_of, timeline_page, tracks_of, values_of
from fabnet.tables import EXPRESSIONS, UNITS
from fabnet.video.crop import quality
from fabnet.video.detectors import are_scored

NEIGHBOURS = 11


def of_face(gallery: Gallery | None, seen: Analysis, number: int) -> dict[str, str]:
    """HTML of a face by the area of the page: `found`; `axes`, `units` and `expression` by probes; `neighbours`.

    Args:
        gallery: whose nearest faces are shown, or None.
        seen: what is known of the upload.
        number: of the face among the N of the upload, from 0.
    """
    crop = seen.faces.crops_NHWC[number]
    read = {task: values[number] for task, values in seen.readings.items()}
    at = f" at {clock(float(seen.faces.times_N[number]))}" if np.ptp(seen.faces.times_N) else ""
    frame, region = seen.faces.frame(number), seen.faces.regions_N4[number]
    drawn = {
        "found": card(found_face(frame, region, crop, f"input{at}"), "Crop", "The input, and the crop of the face.")
    }
    points, pose = read.get("landmarks68", read.get("landmarks5")), read.get("pose")
    if points is not None or pose is not None:
        angles = "" if pose is None else ", ".join(f"{n} {v:.0f}°" for n, v in zip(ANGLES, pose, strict=True))
        about = f"{0 if points is None else len(points)} landmarks on the crop. {angles}"
        drawn["axes"] = card(face_readings(crop, points, pose), "Landmarks and pose", about)
    if "units" in read:
        about = ", ".join(f"AU{unit:02d} {value:.2f}" for unit, value in zip(UNITS, read["units"], strict=True))
        drawn["units"] = card(unit_bars(UNITS, read["units"]), "Action units", about)
    if "expression" in read:
        about = ", ".join(f"{n} {v:.2f}" for n, v in zip(EXPRESSIONS, read["expression"], strict=True))
        drawn["expression"] = card(expression_bars(EXPRESSIONS, read["expression"]), "Expression", about)
    if gallery is not None:
        near = gallery.nearest(seen.embeddings_ND[number], NEIGHBOURS)
        sheet = neighbour_sheet(crop, near.crops_KHWC, near.similarities_K, near.names)
        about = ", ".join(f"{n} {v:.3f}" for n, v in zip(near.names, near.similarities_K, strict=True))
        title = f"Nearest neighbours among {gallery.title}, by the cosine of embeddings"
        drawn["neighbours"] = card(sheet, title, about)
    return drawn


def of_pair(reader: Reader, seen: Analysis, source: int, target: int) -> str:
    """HTML of one face moved to look like another.

    Args:
        reader: its model must have a flow.
        seen: what is known of the upload.
        source, target: numbers among the N faces of the upload, from 0: whose pixels are moved, and whose pose and
            expression they take.

    Raises:
        UserError: the model has no flow.
    """
    crops = seen.faces.crops_NHWC
    made = warp(reader, crops[source], crops[target])
    figure = warped_pair(crops[source], crops[target], made.generated, made.flow_2HW)
    return card(figure, "One frame from another", "Source, target, the source warped to the target, and the flow.")


def of_clip(reader: Reader, seen: Analysis, params: ExtractParams, name: str) -> str:
    """HTML of a clip's readings over time, the page of `fabnet timeline` in a frame; empty of a picture, and without
    probes.

    Args:
        reader: the model.
        seen: what was found in the clip.
        params: how its faces were found.
        name: of the clip, for people.
    """
    faces = seen.faces
    if faces.samples < 2 or not seen.readings:
        return ""
    thumbnails = Thumbnails({track: len(seen.of_track(track)) for track in seen.tracks()})
    for track, sample, crop in zip(faces.tracks_N.tolist(), faces.samples_N.tolist(), faces.crops_NHWC, strict=True):
        thumbnails.offer(track, sample, crop)
    sharpness = np.array([quality(crop)[0] for crop in faces.crops_NHWC])
    scored = are_scored(params)
    values_NS = values_of(seen.readings, faces.sides_N, sharpness, faces.scores_N if scored else None)
    tracks = tracks_of(faces.tracks_N, faces.samples_N, values_NS, thumbnails)
    series = series_of(list(seen.readings), scored)
    timeline = Timeline(name, faces.fps, faces.samples, faces.cuts_s, series, tracks)
    page = timeline_page(timeline, notes(reader.model, params))
    return f'<iframe title="Readings over time" srcdoc="{escape(page)}"></iframe>'


def card(figure: Figure, title: str, description: str) -> str:
    """A figure with its caption; the description is for who cannot see it.

    Args:
        figure: becomes a PNG on white.
        title: the caption, plain text.
        description: plain text for the attribute `alt`.
    """
    png = BytesIO()
    figure.savefig(png, format="png", facecolor="white")
    data = b64encode(png.getvalue()).decode()
    image = f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'
    return f'<figure class="card"><figcaption>{escape(title)}</figcaption>{image}</figure>'
