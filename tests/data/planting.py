"""What a planted fault is, and how to tell of one."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from tests.data.good_data import Place


@dataclass(frozen=True)
class Fault:
    table: str
    name: str
    plant: Callable[[Place], None]


class Faults(list[Fault]):
    """Faults in the order in which the page tells of them."""

    def fault(self, table: str, name: str) -> Callable[[Callable[[Place], None]], None]:
        return lambda plant: self.append(Fault(table, name, plant))

    def cell(self, table: str, name: str, column: str, value: object, row: int = 5) -> None:
        """A fault of one value."""

        def plant(place: Place) -> None:
            def change(frame: pd.DataFrame) -> None:
                frame.loc[row, column] = value

            place.edit(table, change)

        self.append(Fault(table, name, plant))

    def whole(self, table: str, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """A fault of a whole table."""
        self.append(Fault(table, name, lambda place: place.edit(table, change)))
