"""Names of people and files, which have two spellings in Unicode: an ë is one character, or an e and its dots.

Names are compared in the form NFC. Which form a file has on disk depends on the system that made it, so that a table
from one machine names files of another in the other form.
"""

import unicodedata
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fabnet.errors import UserError


def nfc(names: pd.Series) -> pd.Series:
    """Text in the form NFC.

    Args:
        names: text.
    """
    # Arrow tells at once that there is nothing to do. It cannot compose (findings/pyarrow-nfc-does-not-compose.sh).
    if pc.all(pc.string_is_ascii(pa.array(names, pa.string(), from_pandas=True))).as_py() is not False:
        return names
    return names.str.normalize("NFC")


class Spellings:
    """Finds files below a folder by names in any form.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def path(self, name: str) -> Path:
        """The file that a name means; it may be absent.

        Args:
            name: of a file below the folder, or absolute.

        Raises:
            UserError: two files or folders have that name, in different forms.
        """
        if name.isascii():
            return self._root / name
        path = self._root
        for part in PurePosixPath(name).parts:
            path /= part if part.isascii() else self._spelt(path, part)
        return path

    def _spelt(self, folder: Path, name: str) -> str:
        if folder not in self._listed:
            listed: dict[str, list[str]] = {}
            for entry in folder.iterdir() if folder.is_dir() else ():
                listed.setdefault(unicodedata.normalize("NFC", entry.name), []).append(entry.name)
            self._listed[folder] = listed
        found = sorted(self._listed[folder].get(unicodedata.normalize("NFC", name), [name]))
        if len(found) > 1:
            raise UserError(
                f"{folder}: {found[0]!a} and {found[1]!a} are one name in two forms of Unicode ({found[0]}); rename or "
                "join them"
            )
        return found[0]
