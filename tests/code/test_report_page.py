"""The report as one HTML file: what is in it, and what a browser makes of it."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from fabnet.figures.pictures import Gap, Picture
from fabnet.report.blocks import Section, Table, Text
from fabnet.report.render import html


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "wide.png"
    pixels = np.random.default_rng(0).integers(0, 4, (40, 1600, 3), dtype=np.uint8) * 80
    cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def sections(picture):
    wide = Table(
        ["encoder", *(f"column {i}" for i in range(30))],
        [["fabnet_curriculum_of_long_names", *("**1.0** [0.5, 1.5]",) * 30]],
    )
    return [
        Section("What `ran`", "ran", [Text("Of *params*, <b>raw</b>; [frames](data/frames.html)."), wide]),
        Section(
            "Pictures",
            "pictures",
            [Gap("a map", "no labels < 1")],
            [Section("Below", "below", [Picture(picture, 'Grey "noise"', "Read it so.")])],
        ),
    ]


class Elements(HTMLParser):
    """Start tags with their attributes, and that every element is closed where it should be."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_pages_are_whole_html_with_headings_in_order_and_no_raw_html(sections):
    text = html("Results", sections)
    elements = Elements(text)
    assert elements.open == []
    assert [name for name, _ in elements.found if re.fullmatch(r"h[1-6]", name)] == ["h1", "h2", "h2", "h3"]
    assert "<b>" not in text
    assert "&lt;b&gt;raw" in text
    assert [link["href"] for link in elements.all("a")] == ["#ran", "#pictures", "#below", "data/frames.html"]
    assert {place["id"] for place in elements.all("section")} == {"ran", "pictures", "below"}
    assert "no labels &lt; 1" in text
    assert text.count("a map") == 2  # at the top, and in its place


def test_pictures_lie_within_without_loss(sections, picture):
    (shown,) = Elements(html("Results", sections)).all("img")
    assert shown["alt"] == 'Grey "noise"'
    kind, _, data = str(shown["src"]).partition(";base64,")
    assert kind in ("data:image/webp", "data:image/png")
    raw = base64.b64decode(data)
    assert len(raw) <= picture.stat().st_size
    unpacked = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(unpacked[..., :3], cv2.imread(str(picture)))


def test_a_page_without_gaps_warns_of_none(picture):
    assert 'class="gap"' not in html("Results", [Section("A", "a", [Picture(picture, "noise")])])


def opened(browser, path, width, scheme):
    """The page of a file, which asked for nothing else and had no errors."""
    shown = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    asked, errors = [], []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.goto(path.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert errors == []
    assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert shown.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert shown.evaluate("[...document.querySelectorAll('tbody th')].every(th => th.scrollWidth <= th.clientWidth)")
    return shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_fetches_nothing_and_the_page_fits(browser, sections, tmp_path, scheme, width):
    path = tmp_path / "report.html"
    path.write_text(html("Results", sections))
    shown = opened(browser, path, width, scheme)
    assert shown.evaluate("getComputedStyle(document.querySelector('main p')).fontSize") == "16px"
    background = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
    shown.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_wide_table_shows_on_which_side_it_goes_on(browser, tmp_path, scheme):
    path = tmp_path / "wide.html"
    wide = Table([f"column {n}" for n in range(40)], [[f"value {n}" for n in range(40)]] * 12)
    narrow = Table(["one", "two"], [["a", "b"]] * 12)
    path.write_text(html("Results", [Section("Wide", "wide", [wide]), Section("Narrow", "narrow", [narrow])]))
    shown = opened(browser, path, 800, scheme)

    def shadow(section):
        """By how many grey levels the right edge of a table differs from its middle, between the lines of text."""
        png = shown.locator(f"#{section} .table").screenshot()
        pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)[40:-40].astype(int)
        return abs(np.median(pixels[:, -5]) - np.median(pixels[:, pixels.shape[1] // 2]))

    assert shadow("wide") > 4
    shown.evaluate("document.querySelector('#wide .table').scrollLeft = 1e6")
    assert shadow("wide") <= 1
    assert shadow("narrow") <= 1
    shown.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_pipelines_report_is_whole_small_and_fetches_nothing(browser, width, scheme):
    path = Path(__file__).parents[2] / "reports/results.html"
    if not path.is_file():
        pytest.skip("the pipeline has not run here")
    assert path.stat().st_size < 10_000_000
    opened(browser, path, width, scheme).close()


def deep(*blocks):
    return [Section("One", "one", [], [Section("Two", "two", [], [Section("Three", "three", list(blocks))])])]


def test_details_are_folded_unless_something_is_missing_there():
    folded = Elements(html("Results", deep(Text("Words."))))
    assert folded.open == []
    assert [place["id"] for place in folded.all("section")] == ["one", "two", "three"]
    assert [place.keys() for place in folded.all("details")] == [{"open"}, set()]  # contents, Three
    missing = Elements(html("Results", deep(Gap("a curve", "no points"))))
    assert [place.keys() for place in missing.all("details")] == [{"open"}] * 2


def test_a_link_unfolds_what_it_leads_to(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(html("Results", deep(Text("Words."))))
    shown = opened(browser, path, 1280, "light")
    assert not shown.is_visible("text=Words.")
    shown.click("nav >> text=Three")
    shown.wait_for_selector("text=Words.", state="visible", timeout=5000)
    shown.close()
