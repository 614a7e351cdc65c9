"""A trained model on new data: the commands embed, preview, animate, probe, index, search, weights, app and serve."""
