"""Faces that a labelled set has and its table has not: how many, and why."""

import pandas as pd


class LeftOut:
    """Counts faces left out, by reason; rows of the tables given are named by their index."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, str]] = {}

    def add(self, reason: str, first: str, count: int = 1) -> None:
        """Count faces; `first` says which the first one is, and where it comes from."""
        if count:
            known, place = self._rows.get(reason, (0, first))
            self._rows[reason] = known + count, place

    def without(self, faces: pd.DataFrame, bad: "pd.Series[bool]", reason: str, source: str) -> pd.DataFrame:
        """The `faces` that are not `bad`; the others are counted. They need the column `image`."""
        if not bad.any():
            return faces
        first = faces.index[bad.to_numpy()][0]
        self.add(reason, f"{source}, row {first}: {faces['image'].loc[bad].iloc[0]}", int(bad.sum()))
        return faces.loc[~bad]

    def table(self) -> pd.DataFrame:
        """Columns reason, faces (int64) and first, the most frequent reason first."""
        rows = [(reason, count, first) for reason, (count, first) in self._rows.items()]
        frame = pd.DataFrame(rows, columns=["reason", "faces", "first"]).astype(
            {"reason": "str", "faces": "int64", "first": "str"}
        )
        return frame.sort_values(["faces", "reason"], ascending=[False, True], ignore_index=True)

    def line(self) -> str:
        """All of it in one line."""
        return "; ".join(
            f"{count:,} left out: {reason} (first: {first})" for reason, (count, first) in self._rows.items()
        )
