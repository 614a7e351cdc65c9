"""What each of the two processes that test_training_parallel.py starts does; arguments: a folder, and
`kill` or `resume` for a run that one process leaves by SIGKILL."""

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from small_runs import Damaged, params, trainer

from fabnet import log
from fabnet.files import write_json
from fabnet.frames.corrupt import CorruptFrames
from fabnet.training.world import World, joined

COMMON = {"batch_size": 15, "samples": 300, "validation_samples": 33, "optimiser": "sgd"}
COMMON |= {"learning_rate": 0.005, "validation_every": 60, "checkpoint_every": 90}
# Two processes equal one where batch norm does not take statistics of each share; "apart" is with it.
CASES = {
    "plain": COMMON,
    "views": COMMON | {"views": 3, "sources": 2, "shared_decoder": True, "flow_stride": 2, "warm_up": 0.1},
    "histograms": COMMON | {"views": 3, "sources": 2, "histograms": 5.0},
    "curriculum": COMMON | {"curriculum": {"longest": 60}, "sources": 2, "schedule": "plateau", "patience": 1},
    "apart": COMMON | {"curriculum": {"longest": 60}, "sources": 2},
}


def summary(result):
    return {
        "history": [asdict(point) for point in result.history],
        "curriculum": [asdict(point) for point in result.curriculum],
        "best_step": result.best_step,
    }


def stopped_and_resumed(world: World, path: Path):
    """SIGTERM reaches the last process alone, in step 7."""
    run = trainer(params(**CASES["apart"]), path, world=world)
    take = run._train_step

    def interrupted(batch):
        if run.step == 6 and not world.first:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(batch)

    run._train_step = interrupted
    with pytest.raises(SystemExit, match="143"):
        run.run()
    stopped_at = run.step
    return stopped_at, trainer(params(**CASES["apart"]), path, world=world).run()


def over_damaged_frames(world: World):
    """A run that passes over frames 3 and 14."""
    run = trainer(params(**CASES["plain"]), frames=Damaged({3, 14}), world=world, alone=True)
    run.train.corrupt = run.validation.corrupt = CorruptFrames(2)
    return run


def killed(folder: Path, kill: bool) -> None:
    """A run whose last process dies in step 8, after the checkpoint of step 6; or the one that goes on from there."""
    with joined() as world:
        run = trainer(params(**CASES["apart"]), folder / "killed" / "checkpoint.pt", world=world)
        take = run._train_step

        def mortal(batch):
            if kill and run.step == 7 and not world.first:
                os.kill(os.getpid(), signal.SIGKILL)
            return take(batch)

        run._train_step = mortal
        result = run.run()
        if world.first:
            write_json(folder / "killed.json", summary(result))
            torch.save(result.last, folder / "killed.pt")


def main(folder: Path) -> None:
    with joined() as world:
        assert world.size == 2
        for name, values in CASES.items():
            # Only the first process is given a place for files.
            path = folder / name / "checkpoint.pt" if world.first else folder / f"{name}-{world.rank}" / "checkpoint.pt"
            result = trainer(params(**values), path, world=world, alone=name != "apart").run()
            if world.first:
                write_json(folder / f"{name}.json", summary(result))
                torch.save(result.last, folder / f"{name}.pt")
        stopped_at, resumed = stopped_and_resumed(world, folder / "stopped" / "checkpoint.pt")
        damaged = over_damaged_frames(world)
        losses = summary(damaged.run())["history"]
        write_json(folder / f"damaged-{world.rank}.json", {"rows": damaged.train.corrupt.rows, "history": losses})
        numbers = torch.arange(float(len(world.share(torch.arange(7).numpy())))) + 10 * world.rank
        gathered = world.gather(numbers, 7).tolist()
        if world.first:
            write_json(folder / "resumed.json", summary(resumed) | {"stopped_at": stopped_at, "gathered": gathered})
            torch.save(resumed.last, folder / "resumed.pt")


if __name__ == "__main__":
    log.set_up()
    if len(sys.argv) > 2:
        killed(Path(sys.argv[1]), sys.argv[2] == "kill")
    else:
        main(Path(sys.argv[1]))
