"""Encoders of anybody behind one small protocol: images of faces to embeddings (docs/encoders.md)."""
