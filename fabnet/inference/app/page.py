"""The page: what is dropped on it goes to `analysis`, what comes back is shown by `pictures`."""

import logging
from collections.abc import Callable
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from fabnet.errors import UserError, counted
from fabnet.faces.face_params import Way
from fabnet.inference.app import pictures
from fabnet.inference.app.analysis import Analysis, Reader, analyse, no_warp
from fabnet.inference.app.faces import shown_name
from fabnet.inference.app.gallery import Gallery
from fabnet.inference.app.guard import LIMITS, MAX_BYTES

#: Seconds for which an upload, and what was found in it, are kept at most.
KEPT_S = 3600

_WAYS: dict[Way, str] = {"cropped": "as it is: one face in the middle", "detect": "look for faces"}
_NOTHING = "Nothing to look at yet: drop an image or a short clip."
_FORGOTTEN = "What was found is no longer kept: drop the file again."
_BROKEN = "Something went wrong here; the log of the server says what."
_ONE_FRAME = "A picture is one frame. Drop a clip to move one of its frames to another."
_NO_HEADS = "No probes were given (--heads), so there are no landmarks, pose, units or expression."
_MEANING = (
    "Linear probes read these from the embedding alone, and know only faces like those they learnt from. Roll is "
    "clockwise in the image, pitch up, yaw to the image's right; x and y are axes of the head, z points out of it."
)

CSS = """
footer { display: none !important; }
.gradio-container { max-width: 1200px !important; margin: 0 auto !important; }
.html-container { padding: 0 !important; }
.line { padding: 0.5rem 0.8rem; border-radius: 8px; background: #eef3fa; color: #1c2b3f; overflow-wrap: anywhere; }
.line.bad { background: #fdecea; color: #8a1c12; }
.about { line-height: 1.5; overflow-wrap: anywhere; }
.about h1 { margin: 0.2rem 0 0.4rem; }
figure.card { margin: 0; padding: 0.5rem 0.7rem; border: 1px solid #d9dee6; border-radius: 8px; background: white; }
figure.card figcaption { font-weight: 600; color: #1c2b3f; }
#timeline iframe { display: block; width: 100%; height: 80vh; border: 1px solid #d9dee6; border-radius: 8px; }
figure.card img { display: block; width: 100%; height: auto; margin: 0.2rem auto 0; }
"""

# Gradio refuses larger uploads with no more than the word Error. This says why, before anything is sent.
HEAD = f"""<script>
for (const kind of ["change", "drop"]) document.addEventListener(kind, (event) => {{
  const files = [...((kind === "drop" ? event.dataTransfer : event.target).files ?? [])];
  const large = files.find((file) => file.size > {MAX_BYTES});
  if (!large || !event.target.closest("#upload")) return;
  event.stopImmediatePropagation();
  event.preventDefault();
  const line = document.querySelector("#line .line");
  line.textContent = `${{large.name}}: ${{large.size.toLocaleString("en")}} bytes; at most {MAX_BYTES:,} are taken`;
  line.classList.add("bad");
  line.setAttribute("role", "alert");
}}, true);
</script>"""


def build(reader: Reader, gallery: Gallery | None, no_gallery: str = "") -> gr.Blocks:
    """The page for a model.

    Args:
        reader: the model and the ways in which it finds faces.
        gallery: faces to compare with, if there are any.
        no_gallery: what to say where there is none.
    """
    ways = [(_WAYS[way], way) for way in reader.ways]
    with gr.Blocks(title="FAb-Net", analytics_enabled=False, delete_cache=(600, KEPT_S)) as page:
        seen = gr.State(None, time_to_live=KEPT_S)
        gr.HTML(_about(reader, gallery))
        with gr.Row():
            with gr.Column(scale=5, min_width=300):
                upload = gr.File(label="An image or a short clip", type="filepath", height=150, elem_id="upload")
                way = gr.Radio(
                    ways, value=ways[0][1], label="Faces", visible=len(ways) > 1, elem_id="way", interactive=True
                )
                line = gr.HTML(_line(_NOTHING), elem_id="line")
                track = gr.Dropdown([], label="Face", visible=False, elem_id="track", interactive=True)
                moment = gr.Slider(1, 2, 1, step=1, label="Frame", visible=False, elem_id="moment", interactive=True)
                found = gr.HTML(elem_id="found", visible=False)
            with gr.Column(scale=4, min_width=300, visible=False) as left:
                axes = gr.HTML(elem_id="axes")
                gr.HTML(_line(_MEANING if reader.model.probes else _NO_HEADS), elem_id="meaning")
            with gr.Column(scale=4, min_width=300, visible=False) as right:
                units = gr.HTML(elem_id="units")
                expression = gr.HTML(elem_id="expression")
        with gr.Row(visible=False) as below:
            with gr.Column(min_width=300):
                neighbours = gr.HTML(_line(no_gallery), elem_id="neighbours")
            with gr.Column(min_width=300):
                warp_line = gr.HTML(elem_id="warp-line", visible=False)
                source = gr.Slider(1, 2, 1, step=1, label="Source frame", elem_id="source", interactive=True)
                target = gr.Slider(1, 2, 2, step=1, label="Target frame", elem_id="target", interactive=True)
                warped = gr.HTML(elem_id="warped")
        over_time = gr.HTML(elem_id="timeline", visible=False)

        def take(path: str | None, way: Way) -> dict[Any, Any]:
            """A file was dropped, or taken away."""
            if path is None:
                raise UserError(_NOTHING)
            analysis = analyse(Path(path), reader, way)
            areas = {area: gr.update(visible=True) for area in (left, below)}
            right_too = {right: gr.update(visible=bool({"units", "expression"} & analysis.readings.keys()))}
            said = {line: _line(_found_line(Path(path), analysis)), track: _track_choice(analysis)}
            drawn = pictures.of_clip(reader, analysis, reader.ways[way], shown_name(Path(path)))
            said |= {over_time: gr.update(value=drawn, visible=bool(drawn))}
            return {seen: analysis, **areas, **right_too, **said, **choose(analysis, analysis.tracks()[0])}

        def choose(analysis: Analysis, number: int) -> dict[Any, Any]:
            """A track was chosen: show its first face, and warp that to its last."""
            count = len(analysis.of_track(number))
            why = no_warp(reader) if not reader.warps else _ONE_FRAME if count == 1 else ""
            sliders = {}
            # A hidden slider needs two ends as well.
            for slider, value, visible in ((moment, 1, count > 1), (source, 1, not why), (target, count, not why)):
                sliders[slider] = gr.update(value=value, minimum=1, maximum=max(count, 2), visible=visible)
            moved = {warped: gr.update(visible=False)} if why else move(analysis, number, 1, count)
            said = {warp_line: gr.update(value=_line(why), visible=bool(why))}
            return {**show(analysis, number, 1), **sliders, **moved, **said}

        def show(analysis: Analysis, number: int, moment: int) -> dict[Any, Any]:
            """A face was chosen, moments counting from 1."""
            drawn = pictures.of_face(gallery, analysis, _face(analysis, number, moment))
            shown: dict[Any, Any] = {found: gr.update(value=drawn["found"], visible=True)}
            parts = {"axes": axes, "units": units, "expression": expression, "neighbours": neighbours}
            return shown | {part: drawn[name] for name, part in parts.items() if name in drawn}

        def move(analysis: Analysis, number: int, source: int, target: int) -> dict[Any, Any]:
            """A pair of faces was chosen."""
            faces = _face(analysis, number, source), _face(analysis, number, target)
            return {warped: gr.update(value=pictures.of_pair(reader, analysis, *faces), visible=True)}

        def hide(problem: str) -> dict[Any, Any]:
            areas = (left, right, below, track, moment, found, over_time)
            hidden = {area: gr.update(visible=False) for area in areas}
            return {seen: None, line: _line(problem, bad=problem != _NOTHING), **hidden}

        outputs = [seen, line, left, right, below, track, moment, source, target, found, axes, units, expression]
        outputs += [neighbours, warp_line, warped, over_time]
        # One at a time: figures and networks take all cores.
        common: dict[str, Any] = {"outputs": outputs, "concurrency_id": "model", "concurrency_limit": 1}
        common |= {"api_visibility": "private", "show_progress_on": line}
        for trigger in (upload.change, way.input):
            trigger(in_line(take, hide), [upload, way], show_progress="minimal", **common)
        track.input(in_line(choose, hide), [seen, track], show_progress="minimal", **common)
        common |= {"show_progress": "hidden", "trigger_mode": "always_last"}  # while a slider moves
        moment.input(in_line(show, hide), [seen, track, moment], **common)
        for slider in (source, target):
            slider.input(in_line(move, hide), [seen, track, source, target], **common)
    page.queue(max_size=32, default_concurrency_limit=1)
    return page


def in_line(
    call: Callable[..., dict[Any, Any]], hide: Callable[[str], dict[Any, Any]]
) -> Callable[..., dict[Any, Any]]:
    """The same, where an error becomes the one line on the page; what is not the visitor's fault is logged.

    Args:
        call: a handler of the page: values of components in, updates of components out.
        hide: the updates that show one line and nothing else.
    """

    @wraps(call)
    def wrapped(*arguments: Any) -> dict[Any, Any]:
        try:
            if arguments[0] is None and call.__name__ != "take":
                raise UserError(_FORGOTTEN)
            return call(*arguments)
        except UserError as error:
            return hide(str(error))
        except Exception:
            logging.getLogger(__name__).exception("the page failed")
            return hide(_BROKEN)

    return wrapped


def _face(seen: Analysis, track: int, moment: int) -> int:
    """Number of a track's face; moments count from 1."""
    faces = seen.of_track(int(track))
    return int(faces[np.clip(int(moment) - 1, 0, len(faces) - 1)])


def _track_choice(analysis: Analysis) -> Any:
    tracks = analysis.tracks()
    counts = [len(analysis.of_track(track)) for track in tracks]
    several = max(counts) > 1
    choices = [
        (f"face {place}" + (f", {count} frames" if several else ""), track)
        for place, (track, count) in enumerate(zip(tracks, counts, strict=True), start=1)
    ]
    return gr.update(choices=choices, value=tracks[0], visible=len(tracks) > 1)


def _found_line(path: Path, analysis: Analysis) -> str:
    tracks = len(analysis.tracks())
    frames = len(set(analysis.faces.times_N.tolist()))
    what = f"{counted(tracks, 'face')}" + (f" in {frames} frames" if frames > 1 else "")
    return f"{shown_name(path)}: {what}. {analysis.note}".strip()


def _line(text: str, bad: bool = False) -> str:
    return f'<div class="line{" bad" if bad else ""}" role="{"alert" if bad else "status"}">{escape(text)}</div>'


def _about(reader: Reader, gallery: Gallery | None) -> str:
    model = reader.model
    probes = f"probes of {reader.model.probes.meta['set']}" if reader.model.probes else "no probes"
    facts = (
        f"{reader.name}: {model.dimension}-d embeddings from crops of {model.size} × {model.size} pixels; "
        f"{probes}; {gallery.title if gallery else 'no gallery'}."
    )
    promise = f"Nothing is sent to other machines; uploads are deleted within {KEPT_S // 3600 + 1} hours."
    return (
        '<div class="about"><h1>FAb-Net: what an embedding knows of a face</h1>'
        f"<div>{escape(facts)}</div><div>Takes {escape(LIMITS)}. {promise}</div></div>"
    )
