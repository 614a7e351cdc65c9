"""The `fabnet` command, run in the process of a test."""

import sys

import pytest

from fabnet.cli.main import main


def run_fabnet(monkeypatch, capsys, *arguments):
    """Exit code, lines of stdout and lines of stderr."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["fabnet", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out.splitlines(), printed.err.splitlines()
