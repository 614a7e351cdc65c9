"""The exact versions that the environment is made of can be installed where the README says they can."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))


def test_every_pinned_version_runs_on_the_oldest_python_that_is_promised():
    """Distributions of Linux ship early patch releases: Debian 12 has Python 3.11.2."""
    promised = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = re.fullmatch(r">=(\d+\.\d+)", promised)[1] + ".0"
    seen, refused = 0, {}
    for name, version in PINS.items():
        try:
            found = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        if found.version != version:  # `make newest`
            continue
        seen += 1
        wanted = found.metadata.get("Requires-Python")
        if wanted and not SpecifierSet(wanted).contains(oldest):
            refused[name] = f"{version} wants Python {wanted}"
    if not seen:
        pytest.skip("this environment is not made of constraints.txt")
    assert refused == {}


def test_no_opencv_that_loses_the_outputs_of_a_detector():
    """5.0.0 returns boxes without scores (findings/opencv-5-loses-the-scores-of-a-face-detector.sh)"""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (opencv,) = (Requirement(line) for line in wanted if Requirement(line).name == "opencv-python-headless")
    assert opencv.specifier.contains(PINS["opencv-python-headless"])
    assert not opencv.specifier.contains("5.0.0.93")
