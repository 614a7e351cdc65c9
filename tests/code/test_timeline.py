"""`fabnet timeline`: what is followed over time, its smoothing, and the page in a headless Chromium."""

import av
import numpy as np
import pytest
import simplejpeg
from commands import run_fabnet
from inference_files import write_colours, write_model, write_random_heads
from timeline_pages import data_of, unpacked

from fabnet.inference.timeline import (
    Thumbnails,
    Timeline,
    Track,
    lanes,
    mouth,
    notes,
    series_of,
    smooth,
    timeline_of,
    timeline_page,
)
from fabnet.model import load
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of

FACE, NOBODY = 10, 5  # frames, at 5 per second


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, and a clip that shows a face, nobody, and a face again."""
    folder = tmp_path_factory.mktemp("timeline")
    write_model(folder / "model", source="folder")
    write_random_heads(folder / "heads.npz", folder / "model")
    identity, interview = interview_of(2018, 2, 6)
    with av.open(str(folder / "talk.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 240, 160, "yuv420p"
        for number in range(FACE + NOBODY + FACE):
            image = np.full((160, 240, 3), (90, 90, 90), np.uint8)
            if FACE <= number < FACE + NOBODY:
                image[:] = (30, 120, 200)
                image[::16] = (200, 180, 20)
            else:
                image[20:148, 100:228] = render(identity, interview(number / 5), 128)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    write_colours(folder / "blank.mp4", 10)
    (folder / "text.mp4").write_text("no video")
    (folder / "image.png").write_bytes(b"")
    return folder


@pytest.fixture
def fabnet(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    return lambda *arguments: run_fabnet(monkeypatch, capsys, *arguments)


@pytest.fixture(scope="module")
def page(made):
    """The page of the clip, and the table of the same faces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        trained = load("model", "heads.npz")
        params = trained.face_params(fps=5)
        (made / "talk.html").write_text(timeline_page(timeline_of("talk.mp4", trained, params), notes(trained, params)))
        return made / "talk.html", trained.predict("talk.mp4", params)


def test_the_page_holds_the_readings_where_there_was_a_face_and_nothing_else(page):
    path, table = page
    data = data_of(path.read_text())
    assert (data["samples"], data["fps"]) == (FACE + NOBODY + FACE, 5)
    assert data["shots"] == [FACE, FACE + NOBODY]
    assert [(first, end) for _, first, end in data["lanes"][0]["tracks"]] == [(0, 9), (15, 24)]
    assert len(data["lanes"]) == 1
    by_name = {series["name"]: (at, series) for at, series in enumerate(data["series"])}
    columns = {"Yaw": "yaw_deg", "Roll": "roll_deg", "AU12 lip corner puller": "au12", "Happy": "expression_happy"}
    expected = table.set_index("frame").reindex(range(data["samples"]))
    for name, column in columns.items():
        at, series = by_name[name]
        shown = unpacked(data["lanes"][0]["raw"][at], series)
        step = (series["high"] - series["low"]) / (65534 if series["wide"] else 254)
        np.testing.assert_allclose(shown, expected[column], atol=step)
    none = expected["track"].isna().to_numpy()
    assert none.sum() == NOBODY
    for kind in ("raw", "smooth"):
        for text, series in zip(data["lanes"][0][kind], data["series"], strict=True):
            assert (np.isnan(unpacked(text, series)) == none).all()
    at, series = by_name["Side"]
    np.testing.assert_allclose(
        unpacked(data["lanes"][0]["raw"][at], series), expected["right"] - expected["left"], atol=0.01
    )
    at, series = by_name["Detector's score"]
    np.testing.assert_allclose(unpacked(data["lanes"][0]["raw"][at], series), expected["score"], atol=1 / 254)
    assert {sample for sample, _ in data["lanes"][0]["pictures"]} == set(table["frame"])


def test_smoothing_is_a_gaussian_that_stays_within_a_run():
    random = np.random.default_rng(0)
    samples = np.array([*range(3, 40), *range(44, 45), *range(50, 90)])  # and a cut before the 70th
    values = random.normal(size=(len(samples), 2)).astype(np.float32)
    smoothed = smooth(Track(0, samples, values, {}), fps=12.0, shots=[70])  # a standard deviation of 3 samples
    for n, here in enumerate(samples):
        start, end = next((a, b) for a, b in ((3, 40), (44, 45), (50, 70), (70, 90)) if a <= here < b)
        near = [m for m, there in enumerate(samples) if start <= there < end and abs(there - here) <= 12]
        weights = np.exp(-0.5 * ((samples[near] - here) / 3.0) ** 2)
        np.testing.assert_allclose(smoothed[n], weights @ values[near] / weights.sum(), atol=1e-5)
    constant = smooth(Track(0, samples, np.full_like(values, 7), {}), fps=1.0, shots=[])
    np.testing.assert_allclose(constant, 7, rtol=1e-6)


def test_mouth_in_distances_of_the_eyes():
    points = np.zeros((1, 68, 2))
    points[0, 36], points[0, 45] = (10, 0), (60, 0)
    points[0, 48], points[0, 54] = (20, 40), (50, 40)
    points[0, [61, 62, 63], 1], points[0, [67, 66, 65], 1] = 40, (44, 46, 45)
    assert mouth(points)[0].tolist() == pytest.approx([5 / 50, 30 / 50])


def track(number: int, first: int, end: int) -> Track:
    samples = np.arange(first, end)
    return Track(number, samples, np.zeros((len(samples), 1), np.float32), {})


def test_tracks_of_a_lane_are_never_seen_at_once():
    found = lanes([track(0, 0, 30), track(1, 10, 20), track(2, 30, 45), track(3, 25, 35), track(4, 60, 61)])
    assert [[one.number for one in lane] for lane in found] == [[0, 2, 4], [1, 3]]


@pytest.mark.parametrize(("fps", "people"), [(5, 4), (25, 1)])
def test_ten_minutes_are_less_than_5_mb(fps, people):
    random = np.random.default_rng(0)
    series = series_of(["pose", "landmarks68", "units", "expression"], scored=True)
    count = 600 * fps
    thumbnails = Thumbnails(dict.fromkeys(range(people), count))
    tracks = []
    for number in range(people):
        for sample in range(count):
            if number * count + sample == 0 or (number * count + sample) % (people * count // 240) == 0:
                noise = random.integers(0, 255, (18, 18, 3), np.uint8).repeat(4, 0).repeat(4, 1)
            thumbnails.offer(number, sample, noise)
        values = random.uniform(0, 1, (count, len(series))).astype(np.float32)
        tracks.append(Track(number, np.arange(count), values, thumbnails.of(number)))
    page = timeline_page(Timeline("talk.mp4", fps, count, (), series, tuple(tracks)), [])
    assert 230 <= page.count("data:image/jpeg") <= 245
    assert 1e6 < len(page) < 5e6


def test_thumbnails_are_spread_and_each_track_has_one():
    image = np.zeros((64, 64, 3), np.uint8)
    chosen = Thumbnails({0: 1000, 1: 3, 2: 3})
    for number, count in ((0, 1000), (1, 3), (2, 3)):
        for sample in range(count):
            chosen.offer(number, sample, image)
    assert list(chosen.of(0)) == list(range(0, 1000, 5))
    assert 0 in chosen.of(1)
    assert 0 in chosen.of(2)
    assert simplejpeg.decode_jpeg(chosen.of(1)[0]).shape == (64, 64, 3)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(page, browser, width):
    path, table = page
    shown = browser.new_page(viewport={"width": width, "height": 844})
    errors, requests = [], []
    shown.on("console", lambda said: errors.append(said.text))
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(path.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    canvas = shown.locator(".lane canvas").nth(1)
    box = canvas.bounding_box()

    def point(sample: int) -> str:
        shown.mouse.move(box["x"] + box["width"] * (sample + 0.5) / 25, box["y"] + 5)
        shown.wait_for_function(
            "wanted => document.querySelector('.at output').innerText.startsWith(wanted)", arg=f"0:0{sample / 5:.1f}"
        )
        return shown.inner_text(".at output")

    drawn = canvas.screenshot()
    row = table.set_index("frame").loc[3]
    assert point(3) == f"0:00.6, track {row['track']:.0f}"
    assert shown.inner_text(".row:has-text('Roll') output").removesuffix("°") == f"{row['roll_deg']:.0f}".replace(
        "-0", "0"
    )
    assert float(shown.inner_text(".row:has-text('AU12') output")) == pytest.approx(row["au12"], abs=0.006)
    assert shown.get_attribute(".at img", "src").startswith("data:image/jpeg")
    assert canvas.screenshot() != drawn
    assert point(12) == "0:02.4: no face"
    assert shown.inner_text(".row:has-text('Roll') output") == ""
    assert not shown.is_visible(".at img")
    shown.click("button[data-do=in]")
    shown.wait_for_function("document.getElementById('part').innerText !== '0:00.0 – 0:04.8'")
    shown.click("button[data-do=all]")
    shown.wait_for_function("document.getElementById('part').innerText === '0:00.0 – 0:04.8'")
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    shown.close()


def test_the_command(fabnet, made, page):
    arguments = ("timeline", "talk.mp4", "--model", "model", "--heads", "heads.npz", "--out", "again.html")
    code, out, _ = fabnet(*arguments)
    assert (code, out) == (0, ["again.html: 2 tracks in 25 samples, 0.1 MB"])
    assert (made / "again.html").read_bytes() == page[0].read_bytes()


BAD = {
    ("blank.mp4",): "no face in any input: blank.mp4: no_face: ",
    ("text.mp4",): "no face in any input: text.mp4: unreadable: ",
    ("absent.mp4",): "absent.mp4: does not exist",
    (".",): ".: is a folder; a timeline is of one video",
    ("image.png",): "image.png: is an image; a timeline is of a video",
    ("talk.mp4", "--fps", "0"): "fps: ",
}


@pytest.mark.parametrize("arguments", BAD)
def test_what_cannot_be_shown_is_one_line_and_leaves_nothing(arguments, fabnet, made):
    before = {path.name for path in made.iterdir()}
    code, out, err = fabnet("timeline", *arguments, "--model", "model", "--heads", "heads.npz", "--out", "no.html")
    assert (out, len(err)) == ([], 1), err
    assert code == (2 if "--fps" in arguments else 1)
    assert err[0].startswith(f"error: {BAD[arguments]}")
    assert {path.name for path in made.iterdir()} == before


def test_without_probes_or_a_page_to_write(fabnet, made):
    code, _, err = fabnet("timeline", "talk.mp4", "--model", "model", "--out", "no.html")
    assert (code, err) == (1, ["error: model: has no probes, which a timeline is made of; give them by --heads"])
    code, _, err = fabnet("timeline", "talk.mp4", "--model", "model", "--heads", "heads.npz", "--out", "no.png")
    assert (code, err) == (1, ["error: no.png: --out names the HTML file to write, such as talk.html"])
    assert not (made / "no.html").exists()


def test_a_model_of_cropped_frames_says_that_it_looks_for_no_face(made, tmp_path):
    write_random_heads(tmp_path / "heads.npz", write_model(tmp_path / "cropped"))
    cropped = load(tmp_path / "cropped", tmp_path / "heads.npz")
    params = cropped.face_params(fps=5)
    found = timeline_of(made / "talk.mp4", cropped, params)
    assert len(found.tracks[0].samples_N) == found.samples == FACE + NOBODY + FACE
    assert found.shots == [FACE, FACE + NOBODY]
    assert any("Faces were not looked for" in line for line in notes(cropped, params))
    assert [one.name for one in found.series if one.group == "Quality"] == ["Side", "Sharpness"]
