"""Which split a face belongs to where its set does not say: a hash of a name and the seed, whatever else there is."""

import hashlib

import pandas as pd

#: Share of the training people of a set with an official test set who become validation.
VALIDATION = 0.1


def share_of(name: str, seed: int) -> float:
    """A number in [0, 1), uniform over names: a function of the name and the seed only."""
    return int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:8], 16) / 2**32


def split_of(name: str, seed: int) -> str:
    """The split of a person, or image, of a set without an official one: 60 % train, 15 % validation, 25 % test."""
    share = share_of(name, seed)
    return "train" if share < 0.60 else "validation" if share < 0.75 else "test"


def splits_of(identities: pd.Series, seed: int) -> pd.Series:
    """`split_of` every row."""
    chosen = {name: split_of(name, seed) for name in identities.unique()}
    return identities.map(chosen).astype("str")


def carve_validation(faces: pd.DataFrame, seed: int) -> pd.Series:
    """The column split, with VALIDATION of the training people in `validation`, unless it has some already.

    Everybody goes as a whole, and nobody leaves `test`.
    """
    split = faces["split"]
    if (split == "validation").any():
        return split
    people = faces.loc[split == "train", "identity"].unique()
    chosen = {name for name in people if share_of(f"validation:{name}", seed) < VALIDATION}
    return split.mask((split == "train") & faces["identity"].isin(chosen), "validation")
