"""What each part of the network keeps in memory from forward to backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from fabnet.training.batches import LoadedBatch
from fabnet.training.loop import Trainer


def kept_by_part(trainer: Trainer, batch: LoadedBatch) -> dict[str, float]:
    """MB that a step keeps from forward to backward, by part of the network, largest first; weights do not count.

    Memory that several tensors share counts once, where it is met first.
    """
    parts: dict[str, float] = {}
    part = "warp and loss"
    seen = {parameter.untyped_storage().data_ptr() for parameter in trainer.model.parameters()}
    alive: list[Tensor] = []  # or another tensor would take the place of one that was counted

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            alive.append(tensor)
            parts[part] = parts.get(part, 0) + storage.nbytes() / 1e6
        return tensor

    def enter(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            nonlocal part
            part = name

        return hook

    hooks = []
    for name, module in trainer.model.named_children():
        assert isinstance(module, nn.Module)
        hooks += [
            module.register_forward_pre_hook(enter(name)),
            module.register_forward_hook(enter("warp and loss")),
        ]
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        trainer._train_step(batch)
    for hook in hooks:
        hook.remove()
    return dict(sorted(parts.items(), key=lambda item: -item[1]))
