"""The page of `fabnet app`, clicked through in a headless Chromium, and what its server refuses."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
from app_files import write_bad, write_face
from inference_files import write_colours, write_model, write_random_heads, write_talk
from registered_project import forget_store, make_registered, use

from fabnet.cli.main import main
from fabnet.files import hash_file
from fabnet.inference.app import server

# Looked for, not imported: the page is of another process, and the import takes seconds.
pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="the extra `app` is not installed")

#: Of a machine on which others work, too.
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_model(folder / "models/fabnet")
    write_random_heads(folder / "heads.npz", folder / "models/fabnet")
    write_face(folder / "face.jpg")
    write_talk(folder / "talk.mp4")
    write_colours(folder / "blank.mp4", frames=5)
    return folder


class Outside:
    """A proxy that everything is told to use for other machines: takes down whether anything comes."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.asked: list[bytes] = []
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _listen(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                self.asked.append(connection.recv(200))


@pytest.fixture(scope="module")
def outside():
    return Outside()


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    """Where the server's temporary files lie."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def address(folder, outside, uploads):
    """A running `fabnet app`; it is told to end after the tests, and has to leave nothing behind."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), outside.url)
    environment = {**os.environ, **proxies, "no_proxy": "127.0.0.1,localhost", "TMPDIR": str(uploads)}
    command = [sys.executable, "-c", "from fabnet.cli.main import main; main()", "app", "models/fabnet"]
    command += ["--heads", "heads.npz", "--port", "0"]
    errors = (folder / "errors.txt").open("w+")
    with subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=errors
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+): models/fabnet, no gallery\.", first)
        assert found, first + (folder / "errors.txt").read_text()
        yield "127.0.0.1", int(found[1])
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    errors.close()
    assert "Traceback" not in (folder / "errors.txt").read_text()
    assert list(uploads.glob("fabnet-app-*")) == []


def ask(address, path="/", host=None):
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer, answer.read().decode()


class Visit:
    """A page in the browser, and all that it asked for and complained of."""

    def __init__(self, browser, address):
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.page.set_default_timeout(PATIENCE_MS)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto("http://{}:{}".format(*address))
        self.page.wait_for_selector("#line .line")

    def drop(self, path: Path) -> None:
        chooser = "#upload input[type=file]"
        # The line may be there before the field is.
        self.page.wait_for_selector(f"{chooser}, #upload button[aria-label=Clear]", state="attached")
        if self.page.query_selector(chooser) is None:
            self.page.click("#upload button[aria-label=Clear]")
        self.page.set_input_files(chooser, str(path))

    def line(self, wanted: str) -> str:
        """The one line, as soon as it says what is wanted."""
        script = "wanted => document.querySelector('#line .line').innerText.includes(wanted)"
        self.page.wait_for_function(script, arg=wanted)
        return self.page.inner_text("#line .line").strip()

    def picture(self, area: str, unlike: str | None = None) -> str:
        """The source of the picture of an area, as soon as it is there and another than `unlike`."""
        script = "([area, unlike]) => { const i = document.querySelector(area + ' img'); return i && i.complete && "
        script += "i.naturalWidth > 100 && i.src !== unlike && i.checkVisibility() }"
        self.page.wait_for_function(script, arg=[area, unlike])
        return str(self.page.get_attribute(f"{area} img", "src"))

    def finish(self, address) -> None:
        elsewhere = [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        assert elsewhere
        assert {url.split("/")[2] for url in elsewhere} == {"{}:{}".format(*address)}
        assert self.errors == []
        self.page.close()


@pytest.fixture
def visit(browser, address):
    visit = Visit(browser, address)
    yield visit
    visit.finish(address)


def test_an_image_shows_its_crop_and_what_the_probes_read(visit, folder):
    assert visit.line("Nothing to look at yet")
    assert "at most 33.5 megapixels" in visit.page.inner_text(".about")
    visit.drop(folder / "face.jpg")
    assert visit.line("face.jpg") == "face.jpg: 1 face."
    for area in ("#found", "#axes", "#units", "#expression"):
        visit.picture(area)
    captions = visit.page.eval_on_selector_all("figcaption", "all => all.map(each => each.textContent)")
    assert captions == ["Crop", "Landmarks and pose", "Action units", "Expression"]
    assert "68 landmarks" in visit.page.get_attribute("#axes img", "alt")
    assert re.match(r"AU01 [01]\.\d\d, AU02", visit.page.get_attribute("#units img", "alt"))
    assert visit.page.inner_text("#neighbours").startswith("No gallery: there are no embeddings of this model here")
    assert visit.page.inner_text("#warp-line").startswith("A picture is one frame.")
    visit.page.click("#upload button[aria-label=Clear]")
    assert visit.line("Nothing to look at yet")
    assert not visit.page.is_visible("#units")
    assert not visit.page.is_visible("#timeline")


def test_two_frames_of_a_clip_are_chosen_and_one_is_warped_to_the_other(visit, folder):
    visit.drop(folder / "talk.mp4")
    assert visit.line("talk.mp4") == "talk.mp4: 1 face in 15 frames."
    over_time = visit.page.frame_locator("#timeline iframe")
    assert over_time.locator("h2").inner_text() == "Face 1"
    assert over_time.locator("#part").inner_text() == "0:00.0 – 0:02.8"
    first, crop = visit.picture("#warped"), visit.picture("#found")
    visit.page.fill("#moment input[type=number]", "9")
    visit.page.press("#moment input[type=number]", "Enter")
    visit.picture("#found", unlike=crop)
    visit.page.fill("#source input[type=number]", "4")
    visit.page.press("#source input[type=number]", "Enter")
    second = visit.picture("#warped", unlike=first)
    visit.page.fill("#target input[type=number]", "12")
    visit.page.press("#target input[type=number]", "Enter")
    visit.picture("#warped", unlike=second)
    visit.page.click("#way label:has-text('look for faces')")
    assert "source: cropped in the model's, detected here" in visit.line("The model learnt from other crops")


def test_bad_input_is_one_line_and_the_page_goes_on(visit, folder, tmp_path):
    for name, expected in write_bad(tmp_path).items():
        visit.drop(tmp_path / name)
        line = visit.line(expected)
        assert line.startswith(f"{name}: ")
        assert "\n" not in line
        assert visit.page.get_attribute("#line .line", "role") == "alert"
        assert "Traceback" not in visit.page.inner_text("body")
    with (tmp_path / "large.mp4").open("wb") as file:
        file.truncate(65 * 2**20)
    visit.page.click("#upload button[aria-label=Clear]")
    visit.line("Nothing to look at yet")
    visit.drop(tmp_path / "large.mp4")
    assert visit.line("large.mp4") == "large.mp4: 68,157,440 bytes; at most 67,108,864 are taken"
    visit.page.click("#way label:has-text('look for faces')")
    visit.drop(folder / "blank.mp4")
    assert visit.line("blank.mp4").startswith("blank.mp4: no face in it: blazeface found no face")
    visit.page.click("#way label:has-text('as it is')")
    visit.line("blank.mp4: 1 face in 5 frames")
    visit.drop(folder / "face.jpg")
    assert visit.line("face.jpg: 1 face")


def test_a_phone_shows_all_of_it_without_scrolling_sideways(visit, folder):
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.drop(folder / "talk.mp4")
    visit.picture("#warped")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    widths = visit.page.eval_on_selector_all("figure img", "all => all.map(each => each.clientWidth)")
    assert len(widths) == 5
    assert min(widths) > 280


def test_foreign_host_names_are_refused(address):
    answer, page = ask(address)
    assert (answer.status, "FAb-Net" in page) == (200, True)
    for path in ("/", "/config", "/gradio_api/queue/data"):
        answer, body = ask(address, path, host="evil.example")
        assert answer.status == 403
        assert "host evil.example is not one of this server's" in json.loads(body)["message"]


def test_the_page_tells_browsers_to_load_nothing_from_elsewhere(address):
    answer, page = ask(address)
    policy = dict(part.strip().split(" ", 1) for part in str(answer.getheader("content-security-policy")).split(";"))
    assert policy["default-src"] == "'self'"
    assert not any("http" in sources or "*" in sources for sources in policy.values())
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?(?:https?:)?//(?!127)", page) == []


def test_files_of_the_machine_and_functions_of_the_page_are_not_to_be_had(address, folder):
    answer, _ = ask(address, f"/gradio_api/file={folder / 'heads.npz'}")
    assert answer.status == 403
    answer, described = ask(address, "/gradio_api/info")
    assert answer.status == 200
    assert json.loads(described)["named_endpoints"] == {}
    for path in ("/docs", "/openapi.json", "/monitoring"):
        assert ask(address, path)[0].status in (403, 404)


def post(address, data, path="/gradio_api/queue/join", **headers):
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request("POST", path, body=data, headers={"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def named(path, place):
    """A call of the page's function that names a file as Gradio's clients do, in one of its two arguments."""
    file = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
    data = [file, "cropped"] if place == 0 else [None, [{"deep": file}]]
    return json.dumps({"data": data, "fn_index": 0, "session_hash": "x"})


@pytest.mark.parametrize("place", [0, 1])
def test_a_file_that_was_not_uploaded_is_neither_opened_nor_fetched(address, outside, folder, uploads, place):
    elsewhere = [
        str(folder / "face.jpg"),
        "/etc/passwd",
        f"{uploads}/../face.jpg",
        outside.url,
        "https://example.org/a",
        7,
    ]
    for path in elsewhere:
        status, body = post(address, named(path, place))
        assert (status, json.loads(body)["message"]) == (400, "a file has to be dropped on the page")
    assert outside.asked == []


def test_requests_that_are_too_large_or_no_json_are_one_line(address):
    assert post(address, "[" * 50_000)[0] == 400
    assert json.loads(post(address, "{")[1]) == {"error_code": "BAD_REQUEST", "message": "not JSON"}
    status, body = post(address, " " * 70_000)
    assert (status, json.loads(body)["message"]) == (413, "70,000 bytes; at most 65,536 are taken")
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Length", str(2**27))
    connection.endheaders()
    assert connection.getresponse().status == 413
    assert ask(address)[0].status == 200


def test_the_server_asked_no_other_machine(address, outside):
    ask(address)
    assert outside.asked == []


def refused(capsys, monkeypatch, *arguments):
    """The one line with which the command refuses."""
    monkeypatch.setattr(sys, "argv", ["fabnet", "app", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_the_command_refuses_is_one_line(folder, capsys, monkeypatch):
    model = folder / "models/fabnet"
    assert "--host 0.0.0.0 listens on all addresses" in refused(capsys, monkeypatch, model, "--host", "0.0.0.0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "choose another --port" in refused(capsys, monkeypatch, model, "--port", port)
    assert "model.json: no such file" in refused(capsys, monkeypatch, folder / "nothing", "--port", 0)
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    line = refused(capsys, monkeypatch, model)
    assert line == "error: fabnet app needs Gradio, which is not installed: pip install 'fabnet[app]'"


def test_a_registered_model_is_shown_with_its_probes(tmp_path, monkeypatch, capsys):
    root = make_registered(tmp_path / "project")
    forget_store(monkeypatch)
    use(root, monkeypatch)
    shown = []
    monkeypatch.setattr(server, "serve", lambda *arguments: shown.append(arguments))
    monkeypatch.setattr(sys, "argv", ["fabnet", "app", "models:/fabnet@challenger", "--port", "0"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    ((reader, gallery, why, hosts, _),) = shown
    assert reader.name == "models:/fabnet@challenger"
    assert reader.model.probes is not None
    assert reader.model.weights_sha256 == hash_file(root / "models/fabnet/best.pt")
    assert (gallery is None) == why.startswith("No gallery")
    assert hosts == ("localhost", "127.0.0.1", "[::1]", "127.0.0.1")
    assert "models:/fabnet@challenger" in capsys.readouterr().out
