"""What a spawned process would get of an object."""

import multiprocessing
from typing import TypeVar

T = TypeVar("T")


def sent(value: T) -> T:
    """`value` after its way through the pipe between two processes; it must be smaller than the pipe."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        ours.send(value)
        return theirs.recv()
