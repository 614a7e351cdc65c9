"""How much of a machine one visitor of the page may take."""

from fabnet.video.reject import MAX_PIXELS

MAX_BYTES = 64 * 2**20
MAX_SECONDS = 20.0
MAX_FACES = 300
#: Frames of a clip in a second, at most.
FPS = 5.0
#: For one upload, from its first byte to the last crop.
LIMIT_S = 60.0

#: In words, for the page; docs/app.md says the same.
MEGAPIXELS = f"{MAX_PIXELS // 10**5 / 10:.1f} megapixels"
MEBIBYTES = f"{MAX_BYTES // 2**20} MiB"
LIMITS = (
    f"JPEG or PNG of at most {MEGAPIXELS}, or a clip of at most {MAX_SECONDS:g} s; files up to {MEBIBYTES}, "
    f"{MAX_FACES} faces"
)
