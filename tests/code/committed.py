"""The params.yaml of the commit, whatever profile the checkout is set to."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def committed_params() -> str:
    """Its text; that of the checkout where there is no git."""
    done = subprocess.run(["git", "-C", str(ROOT), "show", "HEAD:./params.yaml"], capture_output=True)
    return done.stdout.decode() if done.returncode == 0 else (ROOT / "params.yaml").read_text()


def committed_values() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(committed_params())
    return values
