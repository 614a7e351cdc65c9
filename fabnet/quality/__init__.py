"""Can the data be trusted? Health of a batch of frames and of labelled sets, and checks of any file."""
