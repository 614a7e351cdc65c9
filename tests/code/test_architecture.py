"""The layers of the code, read from it: who imports whom, and what dvc.yaml must therefore depend on."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from fabnet.config import Params

ROOT = Path(__file__).parents[2]

BASE = {
    "config",
    "contract",
    "tables",
    "files",
    "command",
    "pipeline",
    "leftovers",
    "errors",
    "host_allowlist",
    "processes",
    "log",
    "progress",
    "profiles",
}
# A package imports only packages of lines above its own.
ORDER = [
    BASE,
    {"frames", "figures", "pages"},
    {"synthetic", "video"},
    {"networks", "faces"},
    {"training", "encoders"},
    {"attributes"},
    {"probing"},
    {"retrieval"},
    {"quality", "inspection", "supervised"},
    {"report"},
    {"tracking"},
    {"model"},
    {"inference"},
    {"serving"},
    {"cli", "stages"},
    {"__main__", "__init__"},
]
RANK = {package: rank for rank, packages in enumerate(ORDER) for package in packages}

# Former names of modules, by which registered models load what now lies further right.
FORMER_NAMES = {ROOT / "fabnet/inference/served.py"}

# Packages that run on a machine that has a GPU and little else, and what that machine has installed.
BARE_FABNET = {"frames", "networks", "training"}
BARE_PACKAGES = {"torch", "numpy", "pyarrow", "yaml", "fabnet"}
# Turns pictures into pixels by PyAV, which only a machine that extracts frames needs; the others have crops already.
NOT_BARE = {ROOT / "fabnet/frames/conversion.py"}

# Parts of params.yaml that a stage may depend on. A trailing dot asks for something below it. Stages after training
# may depend on the names of the encoders.
TRAINED = {"train.variants", "train.finetuned"}
ALLOWED_PARAMS = {
    "synthesize": {"synthesize"},
    "extract": {"extract"},
    "split": {"split"},
    "validate": {"health", "split"},
    "validate_set": {"health", "sets"},
    "train": {"train.common", "train.variants."},
    "finetune": {"train.common", "train.finetuned."},
    "audit": {"health", "train.variants", "train.finetuned"},
    "embed": {"embed", "encoders", "sets", *TRAINED},
    "baseline": {"embed", "sets", "train.common", "extract", "baselines"},
    "probe": {"probe", "report", "sets", "extract"},
    "supervise": {"supervise", "sets", "extract"},
    "illustrate": {"report", "sets", "train.common", *TRAINED, "extract"},
    "retrieve": {"retrieve", "sets", *TRAINED, "extract"},
    "retrieve_frames": {"retrieve", "embed", *TRAINED},
    "report": {"report", "sets", "encoders", *TRAINED},
}


class Import(NamedTuple):
    module: str  # dotted, absolute
    when: str  # "import" of the module, "call" of a function in it, or "typing" only
    line: int


@cache
def imports(path: Path) -> list[Import]:
    """Every import statement of a file; `from fabnet import tables` counts as fabnet.tables where that is a module."""
    found: list[Import] = []

    def visit(node: ast.AST, when: str) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, when, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.append(Import(submodule if file_of(submodule) else str(node.module), when, node.lineno))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.body:
                visit(statement, "typing")
            for statement in node.orelse:
                visit(statement, when)
        else:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and when == "import":
                when = "call"
            for child in ast.iter_child_nodes(node):
                visit(child, when)

    visit(ast.parse(path.read_text()), "import")
    return found


@cache
def file_of(module: str) -> Path | None:
    """The file of one of our modules, or None."""
    parts = module.split(".")
    if parts[0] not in ("fabnet", "stages"):
        return None
    path = ROOT.joinpath(*parts)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def package_of(path: Path) -> str:
    """fabnet/video/decode.py -> video, fabnet/tables.py -> tables, stages/train.py -> stages."""
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return first if first == "stages" else rest[0]


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def closure(start: Path, when: set[str]) -> set[Path]:
    """Our files that `start` reaches by imports of these kinds, itself included."""
    reached, todo = set[Path](), [start]
    while todo:
        path = todo.pop()
        if path in reached:
            continue
        reached.add(path)
        if path.name != "__init__.py" and (path.parent / "__init__.py").is_file():
            todo.append(path.parent / "__init__.py")  # Python runs it first
        todo += [file for item in imports(path) if item.when in when and (file := file_of(item.module))]
    return reached


# -- who imports whom -----------------------------------------------------------------------------------------------


def wrong_imports(path: Path) -> Iterator[str]:
    """Imports of a package that is not to the left of the file's own, as `file:line: why`."""
    here = package_of(path)
    for item in imports(path):
        file = file_of(item.module)
        if file is None or file == ROOT / "fabnet/__init__.py":  # it imports the rest only when asked for it
            continue
        there = package_of(file)
        if there != here and RANK[there] >= RANK[here] and not {here, there} <= BASE:
            yield f"{path.relative_to(ROOT)}:{item.line}: {here} may not import {there}"


def test_every_room_has_its_place():
    packages = {package_of(path) for path in sources("fabnet") if path != ROOT / "fabnet/__init__.py"}
    assert packages <= RANK.keys(), "a new package needs its place in ORDER and in docs/map.md"


def test_rooms_import_only_rooms_to_their_left():
    assert [
        wrong for path in sources("fabnet", "stages") if path not in FORMER_NAMES for wrong in wrong_imports(path)
    ] == []


def test_bare_rooms_import_with_few_packages():
    wrong = []
    for start in set(sources(*(f"fabnet/{package}" for package in sorted(BARE_FABNET)))) - NOT_BARE:
        for path in closure(start, {"import"}):
            for item in imports(path):
                package = item.module.partition(".")[0]
                if item.when == "import" and package not in BARE_PACKAGES | set(sys.stdlib_module_names):
                    wrong.append(f"{start.relative_to(ROOT)} needs {package} ({path.relative_to(ROOT)}:{item.line})")
    assert wrong == []


def test_stages_and_command_start_fast():
    """They import what is heavy inside functions, so that --help and a wrong option answer at once."""
    light = {"typer", "yaml", "fabnet", "stages"} | set(sys.stdlib_module_names)
    wrong = []
    for start in [*sources("stages"), *sources("fabnet/cli")]:
        for path in closure(start, {"import"}):
            wrong += [
                f"{start.relative_to(ROOT)} imports {item.module} at once ({path.relative_to(ROOT)}:{item.line})"
                for item in imports(path)
                # `_run` lies beside the stages, in the folder that Python puts on sys.path for a script
                if item.when == "import" and item.module.partition(".")[0] not in light | {"_run"}
            ]
    assert wrong == []


def test_files_stay_small_enough_to_read():
    long = {str(path.relative_to(ROOT)): lines for path in sources("fabnet", "stages") if (lines := _lines(path)) > 500}
    assert long == {}


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def undescribed(path: Path) -> Iterator[str]:
    """Arguments of public functions, of two or more, that are not below `Args:` of their docstring.

    A method without a docstring may be one of a protocol, which describes it for all classes that have it.
    """
    kinds = ast.FunctionDef | ast.AsyncFunctionDef

    def visit(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
                yield from visit(child)
            elif isinstance(child, kinds) and not child.name.startswith("_"):
                if isinstance(node, ast.ClassDef) and not ast.get_docstring(child) and child.name in of_protocols():
                    continue
                one = child.args
                names = [each.arg for each in (*one.posonlyargs, *one.args, *one.kwonlyargs)]
                names += [each.arg for each in (one.vararg, one.kwarg) if each is not None]
                wanted = [name for name in names if name not in ("self", "cls")]
                _, _, section = (ast.get_docstring(child) or "").partition("\nArgs:\n")
                told = re.findall(r"^    (\S[^:\n]*):", re.split(r"\n\S", section)[0], re.MULTILINE)
                known = {name.strip(" *") for line in told for name in line.split(",")}
                for name in wanted if len(wanted) > 1 else []:
                    if name not in known:
                        yield f"{path.relative_to(ROOT)}:{child.lineno}: {child.name} does not describe {name}"

    yield from visit(ast.parse(path.read_text()))


@cache
def of_protocols() -> set[str]:
    """The names of all methods of protocols that have a docstring."""
    classes = [node for path in sources("fabnet") for node in ast.walk(ast.parse(path.read_text()))]
    protocols = [one for one in classes if isinstance(one, ast.ClassDef) and "Protocol" in map(ast.unparse, one.bases)]
    return {
        method.name
        for one in protocols
        for method in one.body
        if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
    }


def test_public_functions_describe_their_arguments():
    """But for the commands, whose options describe themselves."""
    paths = [path for path in sources("fabnet") if package_of(path) != "cli"]
    assert [line for path in paths for line in undescribed(path)] == []


# -- dvc.yaml -------------------------------------------------------------------------------------------------------


class Stage(NamedTuple):
    name: str
    script: Path
    deps: list[str]
    params: list[str]
    outs: list[str]


def stages() -> list[Stage]:
    """The stages of dvc.yaml; `foreach` and `matrix` bodies once, with their ${...} unresolved."""
    found = []
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        body = stage.get("do", stage)
        commands = body["cmd"] if isinstance(body["cmd"], list) else [body["cmd"]]
        scripts = [match[1] for command in commands if (match := re.match(r"python (stages/\w+\.py)\b", command))]
        assert len(scripts) == 1, f"{name}: must be one `python stages/NAME.py`"
        outs = [entry for key in ("outs", "metrics", "plots") for entry in _names(body.get(key, []))]
        found.append(Stage(name, ROOT / scripts[0], _names(body.get("deps", [])), _keys(body.get("params", [])), outs))
    return found


def _names(entries: list[Any]) -> list[str]:
    """Paths of outs, which are `path` or `path: {options}`."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def _keys(entries: list[Any]) -> list[str]:
    """Keys of params, which are `key` or `params.yaml: [key]`; of other files with the file's name before a colon."""
    found = []
    for entry in entries:
        for file, keys in (entry if isinstance(entry, dict) else {"params.yaml": [entry]}).items():
            found += [key if file == "params.yaml" else f"{file}:{key}" for key in keys]
    return found


def undeclared(stage: Stage) -> set[str]:
    """Files that the stage's script reaches by imports, should depend on (decision 0002) and does not."""
    exempt = BASE | {"tracking"}
    if not any(out.startswith("reports") for out in stage.outs):
        exempt.add("figures")
    needed = {path for path in closure(stage.script, {"import", "call"}) if package_of(path) not in exempt}
    needed -= {ROOT / "fabnet/__init__.py", ROOT / "stages/_run.py"}
    needed = {path for path in needed if path.name != "__init__.py" or _runs_code(path)}
    declared = [ROOT / dep for dep in stage.deps]
    return {str(path.relative_to(ROOT)) for path in needed if not any(path.is_relative_to(dep) for dep in declared)}


def _runs_code(path: Path) -> bool:
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def sections_read(script: Path) -> set[str]:
    """Top-level sections of params.yaml that a script reads, as `params.extract` or `load_params().extract`."""
    read = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in Params.model_fields:
            owner = ast.unparse(node.value)
            if owner == "params" or re.fullmatch(r"(\w+\.)*load_params\(.*\)", owner):
                read.add(node.attr)
    return read


STAGES = stages() if (ROOT / "dvc.yaml").is_file() else []
every_stage = pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])


def test_every_script_is_a_stage_and_every_stage_has_its_script():
    scripts = {path for path in sources("stages") if not path.name.startswith("_")}
    assert {stage.script for stage in STAGES} == scripts


@every_stage
def test_deps_cover_the_code_that_runs(stage: Stage):
    assert str(stage.script.relative_to(ROOT)) in stage.deps
    assert undeclared(stage) == set()


@every_stage
def test_deps_on_code_exist(stage: Stage):
    code = [dep for dep in stage.deps if dep.startswith(("fabnet", "stages"))]
    assert [dep for dep in code if not (ROOT / dep).exists()] == []


@every_stage
def test_stage_depends_on_its_own_params_only(stage: Stage):
    allowed = ALLOWED_PARAMS[stage.name]
    wrong = [
        key
        for key in stage.params
        if ":" not in key
        and not any(key == part or key.startswith(part if part.endswith(".") else f"{part}.") for part in allowed)
    ]
    assert wrong == []
    others = {key for key in stage.params if ":" in key}
    assert others <= {f"docs/schemas.json:{name}.version" for name in tables_written(stage)}


@every_stage
def test_params_that_a_stage_reads_are_declared(stage: Stage):
    assert sections_read(stage.script) <= {key.partition(".")[0] for key in stage.params}


def tables_written(stage: Stage) -> set[str]:
    """Contracts whose versions the code of a stage writes into files: arguments `tables.NAME` of what marks them."""
    found = set()
    for path in closure(stage.script, {"import", "call"}):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"write", "write_table", "mark"}:
                found |= {
                    a.attr for a in node.args if isinstance(a, ast.Attribute) and ast.unparse(a.value) == "tables"
                }
    return found


def test_data_depend_on_the_versions_that_are_written_into_them():
    """A new version of a contract changes bytes that are promised to be the same, and no code of a stage."""
    declared: set[str] = set()
    for stage in [each for each in STAGES if any(out.startswith("data/") for out in each.outs)]:
        own = {key.partition(":")[2] for key in stage.params if key.startswith("docs/schemas.json:")}
        assert own
        declared |= own  # what an earlier stage writes, and a later one could
        assert {f"{name}.version" for name in tables_written(stage)} <= declared, stage.name
    assert declared == {f"{name}.version" for name in ("Labels", "Index", "Ledger", "Rejects", "Shards", "Splits")}
