"""MLflow, as a projection of what DVC ran. Tracking that is down costs one warning and nothing else."""

from fabnet.tracking.runs import Recorder, run

__all__ = ["Recorder", "run"]
