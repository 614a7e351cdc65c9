"""The reference of commands, made from the typer app and the Makefile."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from fabnet.cli.main import app

_HEAD = """# Commands

Every command of `fabnet`, with its arguments and options, generated from the code.

Errors are one line on stderr with exit code 1 (2 for a wrong option or param); `fabnet -v` shows the traceback behind
them. `gate` and `promote` exit with 2 for a regression and 3 if nothing can be compared ([the gate](gate.md)); `verify`
with 2 if a commit was not reproduced and 3 if it cannot be compared ([reproducibility](reproducibility.md)).
"""
_PLAIN = {"str": "text", "Path": "path", "int": "whole number", "float": "number", "bool": "flag"}


def page(makefile: Path) -> str:
    """Markdown with a section for each command, and one for the targets of `makefile`."""
    root = typer.main.get_command(app)
    sections = [_HEAD, *_section("fabnet", root, level=2)]
    for path, command in commands(root):
        sections += _section(path, command, level=2)
    return "\n".join([*sections, *_targets(makefile)])


def commands(root: Any, path: str = "fabnet") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups themselves left out."""
    for name, command in root.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _section(path: str, command: Any, level: int) -> list[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join([path, *(_name(each) for each in arguments), *(["[OPTIONS]"] if options else [])])
    if hasattr(command, "commands"):
        usage = f"{path} [OPTIONS] COMMAND ..."
    lines = [f"{'#' * level} {path}", "", " ".join((command.help or "").split()), "", "```text", usage, "```", ""]
    if not command.params:
        return lines
    lines += ["| | type | default | |", "|---|---|---|---|"]
    hints = get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    for each in (*arguments, *options):
        cells = (f"`{_name(each)}`", kind(hints[each.name]), _default(each), each.help or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        return name if parameter.required else f"[{name}]"
    return ", ".join((*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    # A flag says by its presence all that it says.
    return "" if parameter.default is None or parameter.default is False else f"`{parameter.default}`"


def kind(hint: Any) -> str:
    """A type as people name it: `path`, `cpu or cuda`, `whole number, at least 1`."""
    if get_origin(hint) is Annotated:
        bare, info = get_args(hint)[:2]
        low, high = getattr(info, "min", None), getattr(info, "max", None)
        bounds = [f"at least {low}" * (low is not None), f"at most {high}" * (high is not None)]
        return ", ".join([kind(bare), *filter(None, bounds)])
    if get_origin(hint) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(hint))
    inner = [each for each in get_args(hint) if each is not type(None)]
    if get_origin(hint) is list:
        return f"{kind(inner[0])}, several"
    if inner:
        return kind(inner[0])
    return _PLAIN[hint.__name__]


def _targets(makefile: Path) -> list[str]:
    found = re.findall(r"^([a-z-]+):[^#\n]*## (.*)$", makefile.read_text(), flags=re.MULTILINE)
    lines = ["## make", "", "The targets of the Makefile; `make help` lists them.", "", "| | |", "|---|---|"]
    return [*lines, *(f"| `make {name}` | {text.replace('|', chr(92) + '|')} |" for name, text in found), ""]
