"""What is dropped on the page in tests, good and bad."""

import struct
import zlib
from pathlib import Path

import numpy as np
import simplejpeg
from inference_files import write_colours

from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of


def write_face(path: Path) -> Path:
    """A drawn face, 128 pixels."""
    identity, interview = interview_of(2018, 2, 3)
    path.write_bytes(simplejpeg.encode_jpeg(render(identity, interview(0.0), 128), quality=95))
    return path


def write_bad(folder: Path) -> dict[str, str]:
    """Files that cannot be shown, and what the page is to say of each."""
    face = write_face(folder / "whole.jpg").read_bytes()
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(face[: len(face) // 2])
    (folder / "bomb.png").write_bytes(_bomb())
    write_colours(folder / "long.mp4", frames=21 * 5)
    return {
        "notes.txt": "neither a JPEG or PNG image nor a clip that can be decoded",
        "empty.png": "the file is empty",
        "cut.jpg": "damaged JPEG",
        "bomb.png": "frames of 10000 x 10000, more than 33,554,432 pixels",
        "long.mp4": "lasts 21.0 s; at most 20 s are taken",
    }


def _bomb() -> bytes:
    """A PNG of 300 kB that would take 300 MB."""
    rows = zlib.compress(np.zeros(10_000 * 30_001, np.uint8).tobytes(), 1)
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
