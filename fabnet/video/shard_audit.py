"""Are the shards the very files that were extracted?"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fabnet import tables
from fabnet.errors import TableError
from fabnet.files import hash_file
from fabnet.frames.shards import INDEX, SHARDS

_SHOWN = 5


def audit_shards(frames: Path, named: Mapping[str, int]) -> dict[str, int]:
    """Read every byte of the shards of `frames` and count them.

    Args:
        named: frames that the index places in each shard.

    Raises:
        TableError: shards.parquet is illegal, or a shard is absent, holds another number of frames than the index
            places there, or other bytes than were written.
    """
    path = frames / SHARDS
    if not path.is_file():
        raise TableError(f"{path}: no such table: frames of an older fabnet; run the stage `extract` again")
    shards = tables.read(path, tables.Shards)
    files = [frames / name for name in shards["shard"]]

    def require(column: str, wrong: list[str]) -> None:
        if wrong:
            shown = ", ".join(wrong[:_SHOWN]) + (", ..." if len(wrong) > _SHOWN else "")
            raise TableError(
                f"{path}: column {column}: {len(wrong)} of {len(shards)} shards: {shown}; bring back what was "
                "extracted (`dvc checkout --force`), or run the stage `extract` again"
            )

    require("shard", [f"{name} is not there, but in {INDEX}" for name in sorted(set(named) - set(shards["shard"]))])
    require("shard", [f"{file.name} does not exist" for file in files if not file.is_file()])
    counts = [(name, told, named.get(name, 0)) for name, told in zip(shards["shard"], shards["frames"], strict=True)]
    require("frames", [f"{name} holds {told}, {INDEX} names {found}" for name, told, found in counts if told != found])
    sizes = [(file.name, told, file.stat().st_size) for file, told in zip(files, shards["bytes"], strict=True)]
    require("bytes", [f"{name} has {now}, not {told}" for name, told, now in sizes if now != told])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = list(pool.map(hash_file, files))
    changed = [file.name for file, told, now in zip(files, shards["sha256"], hashes, strict=True) if now != told]
    require("sha256", [f"{name} holds other bytes than were written" for name in changed])
    return {"rows": len(shards), "bytes": int(shards["bytes"].sum())}
