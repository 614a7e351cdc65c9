"""Videos -> data/frames: face crops in track shards, their index, the rejects and the crop recipe."""

from pathlib import Path

from _run import run


def main() -> None:
    from fabnet.config import load_params
    from fabnet.video.extract import extract

    extract(load_params().extract, out=Path("data/frames"), work=Path(".work/extract"))


if __name__ == "__main__":
    run(main)
