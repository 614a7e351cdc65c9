"""Objective, loop, schedule and checkpoints."""
