"""Labelled sets, one file per data set, behind one small protocol."""
