"""Networks trained on labels: the baselines of an embedding that was trained without any."""
