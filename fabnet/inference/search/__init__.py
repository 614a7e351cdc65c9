"""Embeddings that can be searched: `fabnet index`, `fabnet search`."""
