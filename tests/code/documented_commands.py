"""The commands that README.md and docs/ show, and whether one that is not run would be understood."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dvc.logger  # noqa: F401 - DVC keeps the stderr of its first import, which must not be that of a single test
import typer
import yaml

from fabnet.cli.main import app

ROOT = Path(__file__).parents[2]
#: What a line of a block that is not said to be shell has to begin with, to be a command.
_PROGRAMS = "fabnet|make|dvc|git|pip|python|pytest|mlflow|docker|curl|echo|cp|export|source|torchrun|mkdocs"
_COMMAND = re.compile(rf"(\.venv/bin/)?({_PROGRAMS}) ")
_SHELL = ("bash", "sh", "shell", "console")


@dataclass(frozen=True)
class Shown:
    """A command of a page: path of the page in the repository, and the line without prompt, comment and line breaks."""

    page: str
    line: str

    @property
    def words(self) -> list[str]:
        """As the shell splits them, the program by its bare name, without what goes to a file."""
        program, *rest = shlex.split(self.line)
        if ">" in rest:
            rest = rest[: rest.index(">")]
        return [Path(program).name, *rest]


def pages() -> list[str]:
    """README.md and every page of docs/."""
    return ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]


def shown(page: str, text: str | None = None) -> list[Shown]:
    """The commands in the blocks of a page, in their order."""
    found = []
    for language, lines in _blocks((ROOT / page).read_text() if text is None else text):
        found += [Shown(page, line) for line in _commands(language, lines)]
    return found


def mentioned(page: str) -> list[Shown]:
    """Commands of fabnet, make and dvc that the sentences of a page name as code."""
    text = (ROOT / page).read_text()
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"(?<!`)`([^`]+)`(?!`)", text)
    lines = (" ".join(span.split()).removeprefix(".venv/bin/") for span in spans)
    return [Shown(page, line) for line in lines if re.match(r"(fabnet|make|dvc) [a-z]", line)]


def _blocks(text: str) -> list[tuple[str, list[str]]]:
    """Language and lines of each block of code: fenced, or indented by four after an empty line."""
    found: list[tuple[str, list[str]]] = []
    fence, before = "", ""
    for line in text.splitlines():
        mark = re.match(r"(```+|~~~+)(\w*)", line)
        if mark and not fence:
            fence = mark[1]
            found.append((mark[2], []))
        elif mark and mark[1] == fence:
            fence = ""
        elif fence:
            found[-1][1].append(line)
        elif line.startswith("    ") and not before.strip():
            found.append(("", [line.strip()]))
        elif line.startswith("    ") and before.startswith("    "):
            found[-1][1].append(line.strip())
        before = line
    return found


def _commands(language: str, lines: list[str]) -> list[str]:
    if language and language not in _SHELL:
        return []
    if any(line.startswith("$ ") for line in lines):  # the others are what was printed
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    bare = [re.sub(r"(^|\s)# .*$", "", line).strip() for line in _joined(lines)]
    bare = [part for line in bare for part in line.split(" && ")]
    if language not in _SHELL:
        # With two blanks side by side it is a line of a table that was printed.
        bare = [line for line in bare if _COMMAND.match(line) and "  " not in line]
    return list(filter(None, bare))


def _joined(lines: list[str]) -> list[str]:
    r"""Lines that end in \ or | with those that follow."""
    found: list[str] = []
    goes_on = False
    for line in lines:
        if goes_on:
            found[-1] = f"{found[-1].removesuffix(chr(92)).rstrip()} {line.strip()}"
        else:
            found.append(line)
        goes_on = line.endswith(("\\", "|"))
    return found


# -- is it understood -----------------------------------------------------------------------------------------------


def problem(command: Shown) -> str:
    """What would be wrong with a command that is typed, as far as that shows without running it; empty if nothing."""
    program, *arguments = command.words
    check = {
        "fabnet": _fabnet_problem,
        "make": _make_problem,
        "dvc": _dvc_problem,
        "pip": _pip_problem,
        "python": _python_problem,
        "pytest": lambda words: "" if (ROOT / words[0]).is_file() else f"no file {words[0]}",
    }
    return check[program](arguments) if program in check else ""


@cache
def _root() -> Any:
    """The command of typer's app."""
    return typer.main.get_command(app)


def _fabnet_problem(arguments: list[str]) -> str:
    command = _root()
    name = "fabnet"
    while hasattr(command, "commands"):
        if not arguments or arguments[0].startswith("-"):
            break
        name, *arguments = arguments
        if name not in command.commands:
            return f"no command {name}"
        command = command.commands[name]
    try:
        command.make_context(name, list(arguments))
    except SystemExit:
        return ""  # --help, --version
    except Exception as error:
        return "" if type(error).__name__ in ("Exit", "NoArgsIsHelpError") else f"{type(error).__name__}: {error}"
    return ""


def options_problem(arguments: list[str]) -> str:
    """Whether command and options of a mention exist; it need not be whole."""
    command = _root()
    while arguments and hasattr(command, "commands"):
        name, *arguments = arguments
        if name not in command.commands:
            return f"no command {name}"
        command = command.commands[name]
    known = {"--help", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}
    return ", ".join(word for word in arguments if word.startswith("-") and word.partition("=")[0] not in known)


def _make_problem(arguments: list[str]) -> str:
    done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


def _dvc_problem(arguments: list[str]) -> str:
    from dvc.cli import DvcParserError
    from dvc.cli.parser import get_main_parser

    try:
        parsed = get_main_parser().parse_args(arguments)
    except (DvcParserError, SystemExit) as error:
        return f"dvc does not understand it: {error!r}"
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    unknown = [name for name in getattr(parsed, "targets", None) or () if name.partition("@")[0] not in stages]
    if arguments[:1] == ["repro"] or arguments[:2] == ["exp", "run"]:
        return f"no stage {unknown[0]}" if unknown else ""
    return ""


def _pip_problem(arguments: list[str]) -> str:
    """Extras that are asked for exist."""
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {name for word in arguments for name in ",".join(re.findall(r"\[([\w,]+)\]", word)).split(",") if name}
    return ", ".join(sorted(asked - extras.keys()))


def _python_problem(arguments: list[str]) -> str:
    """Scripts and modules of the repository exist, with the options given to them."""
    if arguments[0] == "-c":
        compile(arguments[1], "<page>", "exec")
        return ""
    name = arguments[1].replace(".", "/") + ".py" if arguments[0] == "-m" else arguments[0]
    if not (ROOT / name).is_file():
        return f"no file {name}"
    source = (ROOT / name).read_text()
    return ", ".join(word for word in arguments if word.startswith("--") and f'"{word}"' not in source)
