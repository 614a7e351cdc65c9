"""Embeddings become linear probes, metrics, intervals and the paper's tables. Probes never see images."""
