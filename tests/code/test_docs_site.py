"""The site of docs/: built strictly, whole, and looked at in a headless Chromium without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from committed import committed_values

from fabnet.cli.main import app
from fabnet.config import parse_params

pytest.importorskip("material", reason="the extra `docs` is not installed")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def html_of(site: Path, page: str) -> str:
    return (site / page).read_text()


def text_of(site: Path, page: str) -> str:
    """The visible text of a page, without entities that matter here."""
    text = re.sub(r"<[^>]+>", "", html_of(site, page))
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_every_page_of_docs_is_in_the_site_and_can_be_reached(site):
    index = html_of(site, "index.html")
    for path in (ROOT / "docs").rglob("*.md"):
        page = path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (site / page).is_file(), page
        assert f'href="{page}"' in index, f"{page} is not in the navigation"
    for page in ("reports/results.html", "commands.html", "params.html", "CHANGELOG.html"):
        assert f'href="{page}"' in index
    assert not list(site.rglob("*.py"))


def test_every_command_option_and_target_is_in_the_reference(site):
    html = html_of(site, "commands.html")
    found = list(commands_of(typer.main.get_command(app), "fabnet"))
    assert len(found) > 15
    for name, command in found:
        section = re.search(rf'<h2 id="{name.replace(" ", "-")}">.*?(?=<h2 |</article>)', html, flags=re.DOTALL)
        assert section, name
        for parameter in command.params:
            assert all(f"{option}" in section[0] for option in parameter.opts if option.startswith("-")), name
            assert first_words(parameter.help) in re.sub(r"<[^>]+>", "", section[0])
    for target in re.findall(r"^([a-z-]+):[^#\n]*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE):
        assert f"<code>make {target}</code>" in html


def commands_of(command, name):
    for each in command.commands.values():
        if hasattr(each, "commands"):
            yield from commands_of(each, f"{name} {each.name}")
        else:
            yield f"{name} {each.name}", each


def first_words(text: str) -> str:
    """So much of a help text as has no typographic changes."""
    return re.split(r"[`'\"&<>*_]", text or "")[0].strip()


def keys_of(values: dict, prefix: str = "") -> list[str]:
    """Dotted keys of all values that are no mappings."""
    found = []
    for key, value in values.items():
        found += keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]
    return found


def test_every_key_of_params_is_in_the_reference_with_a_meaning(site):
    rows = re.findall(r"<tr>\s*<td><code>([\w.]+)</code></td>(.*?)</tr>", html_of(site, "params.html"), flags=re.DOTALL)
    cells = {key: [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", rest)] for key, rest in rows}
    assert len(cells) > 120
    assert [key for key, (allowed, _, meaning) in cells.items() if not allowed or not meaning] == []
    params = committed_values()
    # Entries of these carry names that people choose; of a limit of health, one row stands for its numbers.
    own = r"(train\.(?:variants|finetuned)|sets)\.\w+"
    # An empty mapping of them has no entry to show.
    shown = [key for key in keys_of(params) if key not in ("train.finetuned", "encoders")]
    wanted = [re.sub(rf"^{own}", r"\1.NAME", key) for key in shown]
    limits = re.compile(r"^(health\.\w+\.\w+)\.(?:critical|warning)\..*")
    wanted = [re.sub(r"^(train\.\w+\.NAME).*", r"\1", limits.sub(r"\1", key)) for key in wanted]
    assert [key for key in wanted if key not in cells] == []
    assert "encoders.NAME.source" in cells


def test_defaults_bounds_and_choices_of_params_are_those_of_the_models(site):
    text = " ".join(text_of(site, "params.html").split())
    committed = parse_params(committed_values())
    assert "train.common.curriculum.width whole number, at least 1, at most 100 50 width of the window" in text
    passes = "passes of the paper's probe over the training faces"
    assert f"probe.epochs whole number, above 0 {committed.probe.epochs} {passes}" in text
    assert "extract.recrop none or authors none authors: pad and crop again" in text
    assert "health.TABLE.MEASURE.critical.share number, at least 0, at most 1 1.0" in text
    assert "extract.boxes path or null null boxes: CSV or Parquet" in text
    assert "Linear probes on frozen embeddings." in text


def test_formulas_are_drawn_by_the_browser_itself(site):
    html = html_of(site, "method.html")
    formulas = re.findall(r"<math.*?</math>", html, flags=re.DOTALL)
    assert len([each for each in formulas if 'display="block"' in each]) >= 12
    assert len(formulas) >= 60
    # What was not understood is left as it was written.
    assert [each for each in formulas if "\\" in re.sub(r"<[^>]+>", "", each)] == []
    assert "$" not in re.sub(r"<[^>]+>", "", html.split("<article")[1].split("</article>")[0])
    assert "<msub><mi>C</mi><mi>j</mi></msub>" in html


def test_nothing_is_fetched_from_elsewhere(site):
    tags = [
        (path.name, tag)
        for path in site.rglob("*.html")
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", path.read_text())
        if re.search(r"(?:src|href)=\"?(?:https?:)?//", tag)
    ]
    assert tags == []
    styles = [path for path in site.rglob("*.css") if re.search(r"url\(\"?https?:|@import", path.read_text())]
    assert styles == []


def test_links_out_of_docs_lead_to_pages_that_came_along_or_are_no_links(site):
    results = html_of(site, "reports/results.html")
    pictures = re.findall(r'<img[^>]*src="([^"]+\.png)"', results)
    assert len(pictures) >= 6
    assert all((site / "reports" / picture).is_file() for picture in pictures)
    assert "data/frames.html" not in results  # no file of git


# -- as people see it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_pages_fit_the_screen_ask_for_nothing_and_are_searched_without_a_server(browser, site, width, height):
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(60_000)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in ("index", "method", "params", "reports/results"):
        page.goto(f"file://{site}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        assert page.evaluate(broken) == [], name
    page.goto(f"file://{site}/index.html")
    page.click(".md-search__input" if width > 1000 else "label.md-header__button[for=__search]")
    page.type(".md-search__input", "curriculum")
    page.wait_for_selector(".md-search-result__item a[href*='method']", state="attached")
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    page.close()
