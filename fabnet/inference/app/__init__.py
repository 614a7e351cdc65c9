"""A small web page on which a trained model reads the faces of a picture or a short clip."""
