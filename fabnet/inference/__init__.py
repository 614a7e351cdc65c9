"""A trained model meets new videos and images: embeddings and readings of the faces in them, and what it will see."""
