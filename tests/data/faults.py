"""Every kind of fault that we know to plant in good data, and which rule catches it where.

`python -m tests.data.faults` writes what was caught into docs/data-quality.md; a test compares.
"""

import re
import sys
import tempfile
from pathlib import Path

from fabnet.quality.suites import MEANING
from tests.data import frame_faults, good_data, table_faults
from tests.data.guards import catch
from tests.data.planting import Fault

PAGE = Path(__file__).parents[2] / "docs/data-quality.md"
FAULTS: list[Fault] = [*frame_faults.FAULTS, *table_faults.FAULTS]


def documented(text: str, catches: list[tuple[Fault, tuple[str, str] | None]]) -> str:
    """docs/data-quality.md with its generated tables made anew."""
    faults = ["| table | fault | rule | caught by |", "|---|---|---|---|"]
    for one, found in catches:
        stage, rule = found or ("**nobody**", "**none**")
        faults.append(f"| {one.table} | {one.name} | {_code(rule)} | {stage} |")
    measures = ["| measure | what it is |", "|---|---|", *(f"| `{name}` | {what} |" for name, what in MEANING.items())]
    for name, lines in (("faults", faults), ("measures", measures)):
        begin, end = f"<!-- {name}: made by tests/data/faults.py -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + "\n".join(lines) + "\n" + rest[rest.index(end) :]
    return text


def _code(rule: str) -> str:
    """Names of columns and measures as code, without long lists; sentences as they are."""
    return f"`{re.sub(r'isin.*', 'isin(...)', rule)}`" if ":" in rule or "." in rule else rule


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        base.mkdir()
        place = good_data.make(base)
        catches = [(one, catch(place, one, Path(folder) / str(number))) for number, one in enumerate(FAULTS)]
    PAGE.write_text(documented(PAGE.read_text(), catches))
    missed = [one.name for one, found in catches if found is None]
    sys.exit(f"not caught: {missed}" if missed else 0)


if __name__ == "__main__":
    main()
