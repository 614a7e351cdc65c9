"""The stages of the pipeline as DVC resolves them, and which of them makes what another one reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fabnet.errors import UserError, one_line


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml or a .dvc file.

    Attributes:
        name: such as `train@fabnet`.
        deps: files and folders that it reads, code among them, params not.
        outs: files and folders that it writes.
        added: whether it is a .dvc file, which `dvc add` and `dvc import` write; it has no entry in dvc.lock.
    """

    name: str
    deps: tuple[PurePosixPath, ...]
    outs: tuple[PurePosixPath, ...]
    added: bool = False

    @property
    def kind(self) -> str:
        """The stage's name in dvc.yaml, without the key of `foreach`."""
        return self.name.partition("@")[0]


def read_pipeline(root: Path) -> list[Stage]:
    """The stages in `root`: of dvc.yaml, with the values of params.yaml, in its order, and of .dvc files.

    Raises:
        UserError: DVC cannot read it.
    """
    from dvc.dependency import ParamsDependency  # type: ignore[import-untyped]
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

    def paths(outputs: list[object]) -> tuple[PurePosixPath, ...]:
        files = (each for each in outputs if not isinstance(each, ParamsDependency))
        return tuple(PurePosixPath(each.def_path) for each in files)  # type: ignore[attr-defined]

    try:
        with Repo(str(root)) as repo:
            # Not `addressing`, which is relative to the working directory.
            names = [getattr(each, "name", None) for each in repo.index.stages]
            found = zip(names, repo.index.stages, strict=True)
            return [
                Stage(name or each.path_in_repo, paths(each.deps), paths(each.outs), added=name is None)
                for name, each in found
            ]
    except DvcException as error:
        raise UserError(f"{root / 'dvc.yaml'}: {one_line(error, None)}") from None


def makers(path: PurePosixPath, stages: Sequence[Stage]) -> list[Stage]:
    """The stages of which `path` is an output, a part of one, or a folder that holds one; none of what is no output.

    Args:
        path: relative to the folder of dvc.yaml.
        stages: those of dvc.yaml.
    """

    def touches(out: PurePosixPath) -> bool:
        return out == path or path in out.parents or out in path.parents

    return [stage for stage in stages if any(touches(out) for out in stage.outs)]


def upstream(name: str, stages: Sequence[Stage]) -> list[Stage]:
    """The stage `name` and all that it needs, in the order of `stages`.

    Args:
        name: of a stage.
        stages: those of dvc.yaml, in its order.

    Raises:
        UserError: there is no such stage.
    """
    waiting = [stage for stage in stages if stage.name == name]
    if not waiting:
        raise UserError(f"dvc.yaml: has no stage {name}; there are {', '.join(stage.name for stage in stages)}")
    needed: dict[str, Stage] = {}
    while waiting:
        stage = waiting.pop()
        if stage.name not in needed:
            needed[stage.name] = stage
            waiting += [maker for dep in stage.deps for maker in makers(dep, stages)]
    return [stage for stage in stages if stage.name in needed]
