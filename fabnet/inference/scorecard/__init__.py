"""`fabnet scorecard`: encoders on one's own videos, scored against what FaceMesh reads of the same frames."""
