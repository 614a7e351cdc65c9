"""The tables about the crops -> reports/data/frames.json, if each is legal and they agree with the shards."""

from pathlib import Path

from _run import run


def main() -> None:
    from fabnet.files import write_json
    from fabnet.video.audit import audit_frames

    counts = audit_frames(Path("data/frames"), Path("data/splits.parquet"))
    write_json(Path("reports/data/frames.json"), counts)


if __name__ == "__main__":
    run(main)
