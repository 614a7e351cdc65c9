"""A video file becomes face crops: decode, sample by time, crop, and why a clip was rejected."""
