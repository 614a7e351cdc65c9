"""Frames of each two splits, compared -> reports/audit/{pairs.json, pairs.html, closest.png}: is anybody in both?"""

from pathlib import Path

from _run import run


def main() -> None:
    """data/frames, data/splits.parquet, models/VARIANT -> reports/audit"""
    from fabnet import tables
    from fabnet.config import load_params
    from fabnet.errors import UserError
    from fabnet.frames.store import FrameStore
    from fabnet.quality.identity_audit import audit_splits

    params = load_params()
    variant = params.health.audit.variant or params.train.names[0]
    if variant not in params.train.names:
        raise UserError(
            f"params.yaml: health.audit.variant: there is no {variant}; there are {', '.join(params.train.names)}"
        )
    splits = tables.read("data/splits.parquet", tables.Splits)
    verdict = audit_splits(
        FrameStore("data/frames"), splits, Path("models", variant), params.health, out=Path("reports/audit")
    )
    verdict.require(Path("reports/audit/pairs.html"))


if __name__ == "__main__":
    run(main, one_thread=True)
