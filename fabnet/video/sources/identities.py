"""vox1_meta.csv: the people of VoxCeleb1, who have a name in its first release and an id in the later ones."""

import re
import unicodedata
from pathlib import Path

from fabnet.errors import TableError, UserError
from fabnet.video.sources.text_tables import table_rows

META = "vox1_meta.csv"
_ID, _NAME = "VoxCeleb1 ID", "VGGFace1 ID"
_IS_ID = re.compile(r"id[0-9]{5}")


def is_id(identity: str) -> bool:
    return _IS_ID.fullmatch(identity) is not None


class Identities:
    """Gives each person one identity, the id, whichever of both a folder is named by.

    Without vox1_meta.csv in the folder of clips, a person is called what the folder is called, in Unicode's form NFC.

    Raises:
        TableError: an illegal row, or an id or name that comes twice.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._path = root, root / META
        self._spelt: dict[str, str] = {}
        self._id_of: dict[str, str] = {}
        if not self._path.is_file():
            return
        lines: dict[str, int] = {}
        for number, (id, name) in table_rows(self._path, (_ID, _NAME), delimiter="\t", others=True):
            if not is_id(id) or not name:
                raise TableError(f"{self._path}: line {number}: expected an id such as id10001 and a name")
            for key in {id, name}:
                if lines.setdefault(key, number) != number:
                    raise TableError(f"{self._path}: line {number}: {key} comes twice, first in line {lines[key]}")
                self._id_of[key] = id

    def of(self, name: str) -> str:
        """The id of a person; the name itself where the table does not have it.

        Raises:
            UserError: an earlier name is the same, in another form of Unicode: nobody can tell the two apart.
        """
        person = unicodedata.normalize("NFC", name)
        first = self._spelt.setdefault(person, name)
        if first != name:
            raise UserError(
                f"{self._root}: {first!a} and {name!a} are one name in two forms of Unicode ({person}); rename or join "
                "them"
            )
        return self._id_of.get(person, person)

    def of_voxceleb1(self, name: str, where: Path) -> str:
        """The id of a person of VoxCeleb1.

        Args:
            name: of the person's folder.
            where: that folder, for the error.

        Raises:
            UserError: there is a table, and it does not have the name. The same person might be in there by an id.
        """
        if self._id_of and name not in self._id_of:
            raise UserError(f"{where}: {name} is in no row of {self._path}; add it, or remove the table to go by names")
        return self.of(name)

    def inputs(self) -> list[Path]:
        return [self._path] if self._path.is_file() else []
