"""Which encoders a picture shows where all would be too many."""

from collections.abc import Mapping, Sequence

#: Encoders that are always worth a line beside the trained ones, in this order.
_BESIDE = ("vgg11", "vgg_face", "hog", "random")


def of_interest(scored: Sequence[str], objectives: Mapping[str, str], reference: str, most: int) -> list[str]:
    """The reference, one trained variant for each other objective, and the encoders that these have to beat.

    Args:
        scored: encoders that there are numbers of.
        objectives: by trained variant, in the order of params.yaml.
        reference: comes first, if it was scored.
    """
    chosen = [reference] if reference in scored else []
    seen = {objectives.get(reference, reference)} if chosen else set()
    for name, objective in objectives.items():
        if name in scored and objective not in seen:
            chosen.append(name)
            seen.add(objective)
    chosen += [name for name in _BESIDE if name in scored and name not in chosen]
    return chosen[:most]
