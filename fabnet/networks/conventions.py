"""What weights alone do not say about a network: two conventions in which others' FAb-Nets differ from ours."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Conventions:
    """How a network wants its numbers; the default is ours, and the paper's as the specification reads it.

    Attributes:
        align_corners: bilinear upsampling in the decoders keeps the corner pixels' centres at the corners.
        unit_input: the first layer sees pixels in [0, 1]. Frames come in [-1, 1] all the same, and the encoder shifts
            them: at the border, where zeros are padded, no change of the weights would do.
    """

    align_corners: bool = True
    unit_input: bool = False

    @classmethod
    def of_card(cls, card: dict[str, Any]) -> "Conventions":
        """As model.json says; what it does not mention is as ours.

        Raises:
            ValueError: it mentions one that is unknown here.
        """
        said = card.get("conventions", {})
        if (
            not isinstance(said, dict)
            or not set(said) <= set(asdict(OURS))
            or {type(v) for v in said.values()} - {bool}
        ):
            raise ValueError(f"conventions {said} are unknown here; there are {', '.join(asdict(OURS))}, true or false")
        return cls(**said)

    def card(self) -> dict[str, Any]:
        """What model.json has to say: nothing where all is as ours."""
        return {} if self == OURS else {"conventions": asdict(self)}


OURS = Conventions()
