"""The faces of new videos and images: which files are meant, how faces are found in them, and their crops."""
