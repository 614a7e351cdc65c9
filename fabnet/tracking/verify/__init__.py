"""Was a commit reproduced on this machine? Its dvc.lock and metrics.json against those that a repro left here."""
