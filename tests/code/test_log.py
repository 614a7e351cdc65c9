"""What commands and stages log, at which level, and on which stream."""

import logging
import subprocess
import sys

import pytest
from commands import run_fabnet

from fabnet import log
from fabnet.errors import ConfigError
from fabnet.files import atomic_file
from fabnet.processes import ordered_map
from fabnet.progress import Progress

logger = logging.getLogger("fabnet.test_log")


@pytest.fixture(autouse=True)
def _default_level_again(monkeypatch):
    monkeypatch.setenv(log.VARIABLE, "")
    yield
    monkeypatch.setenv(log.VARIABLE, "")
    log.set_up()


def say_something(path):
    with atomic_file(path):
        pass
    with Progress("step", 1) as progress:
        progress.advance()
    logger.warning("it is late")
    logger.error("it is over")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug: wrote", "step: 1/1", "warning: it is late", "error: it is over"]),
        ("info", ["step: 1/1", "warning: it is late", "error: it is over"]),
        ("warning", ["warning: it is late", "error: it is over"]),
        ("error", ["error: it is over"]),
    ],
)
def test_a_level_shows_itself_and_what_is_above_it(level, shown, tmp_path, capsys):
    log.set_up(level)
    log.set_up()  # once more neither resets the level nor doubles lines
    say_something(tmp_path / "file")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == len(shown)
    assert all(line.startswith(start) for line, start in zip(lines, shown, strict=True))


def test_an_unknown_level_is_one_line(monkeypatch, capsys):
    monkeypatch.setenv(log.VARIABLE, "loud")
    with pytest.raises(ConfigError, match="FABNET_LOG: 'loud' is none of debug, info, warning, error"):
        log.set_up()
    code, out, err = run_fabnet(monkeypatch, capsys, "params", "show")
    assert (code, out, err) == (2, [], ["error: FABNET_LOG: 'loud' is none of debug, info, warning, error"])


def test_options_of_the_command(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    plain = run_fabnet(monkeypatch, capsys, "params", "set", "split.seed=1")
    assert plain[0] == 2
    assert len(plain[2]) == 1
    assert run_fabnet(monkeypatch, capsys, "-q", "params", "set", "split.seed=1") == plain
    monkeypatch.setenv(log.VARIABLE, "")
    code, _, err = run_fabnet(monkeypatch, capsys, "--verbose", "params", "set", "split.seed=1")
    assert (code, err[0]) == (2, plain[2][0])
    assert err[1].startswith("Traceback")
    monkeypatch.setenv(log.VARIABLE, "")
    assert run_fabnet(monkeypatch, capsys, "-v", "-q", "params", "show") == (
        2,
        [],
        ["error: -v and -q: give one of them"],
    )


def _announce(number):
    logger.info(f"number {number}")


def test_processes_log_as_the_one_that_started_them(capfd):
    list(ordered_map(_announce, [1, 2], 2))
    assert sorted(capfd.readouterr().err.splitlines()) == ["number 1", "number 2"]
    log.set_up("warning")
    list(ordered_map(_announce, [1, 2], 2))
    assert capfd.readouterr().err == ""


def test_an_import_sets_up_nothing():
    code = "import logging, fabnet, fabnet.progress; print(logging.getLogger('fabnet').handlers, logging.root.handlers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
