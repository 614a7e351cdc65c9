"""Nearest neighbours over embeddings."""
