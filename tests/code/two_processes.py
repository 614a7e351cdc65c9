"""What each of the processes that test_training_parallel.py starts with torchrun does; arguments: a folder."""

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from small_runs import params, trainer

from fabnet.files import write_json
from fabnet.training.world import World, joined

COMMON = {"batch_size": 15, "samples": 300, "validation_samples": 33, "sync_batch_norm": True, "optimiser": "sgd"}
COMMON |= {"learning_rate": 0.005, "validation_every": 60, "checkpoint_every": 90}
CASES = {
    "plain": COMMON,
    "curriculum": COMMON | {"curriculum": {"longest": 60}, "sources": 2, "schedule": "plateau", "patience": 1},
    "apart": COMMON | {"curriculum": {"longest": 60}, "sources": 2, "sync_batch_norm": False},
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


def main(folder: Path) -> None:
    with joined() as world:
        assert world.size == 2
        for name, values in CASES.items():
            # Only the first process is given a place for files.
            path = folder / name / "checkpoint.pt" if world.first else folder / f"{name}-{world.rank}" / "checkpoint.pt"
            result = trainer(params(**values), path, world=world).run()
            if world.first:
                write_json(folder / f"{name}.json", summary(result))
                torch.save(result.last, folder / f"{name}.pt")
        stopped_at, resumed = stopped_and_resumed(world, folder / "stopped" / "checkpoint.pt")
        numbers = torch.arange(float(len(world.share(torch.arange(7).numpy())))) + 10 * world.rank
        gathered = world.gather(numbers, 7).tolist()
        if world.first:
            write_json(folder / "resumed.json", summary(resumed) | {"stopped_at": stopped_at, "gathered": gathered})
            torch.save(resumed.last, folder / "resumed.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
