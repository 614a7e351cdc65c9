"""How pictures of videos become RGB, and RGB becomes pictures of videos."""

from av.video.reformatter import Interpolation

#: For every `reformat` and `to_ndarray` of frames. Without the last two, libswscale converts by routines of the
#: processor's instruction set, each of which rounds in its own way (docs/decisions/0014-same-bytes-everywhere.md).
SAME_EVERYWHERE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
