"""The files that faces, their embeddings and readings are written to: one format per file, rows as they come."""
