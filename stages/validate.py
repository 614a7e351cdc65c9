"""The crops and their tables -> reports/data/frames.json and .html, or the end of the run where they are not fit."""

from pathlib import Path

from _run import run


def main() -> None:
    from fabnet.config import load_params
    from fabnet.quality.health import judge_frames

    params = load_params()
    verdict = judge_frames(Path("data/frames"), Path("data/splits.parquet"), params.split, params.health)
    verdict.write(Path("reports/data"), "frames")
    verdict.require(Path("reports/data/frames.html"))


if __name__ == "__main__":
    run(main)
