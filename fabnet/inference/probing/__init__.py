"""`fabnet probe`: embeddings made anywhere, scored on anybody's labels."""
