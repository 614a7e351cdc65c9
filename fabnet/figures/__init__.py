"""Every picture, as functions from arrays to a matplotlib figure; and pictures on disk."""
