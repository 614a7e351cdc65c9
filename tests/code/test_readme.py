"""The README shows what files of the repository say."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_row_of_scores_is_a_row_of_the_report():
    """The first table is of the pipeline, the second of the run of the profile `tables`."""
    first, second = [part.split("\n\n")[0] for part in README.split("| encoder |")[1:]]
    for part, source, least in ((first, "reports/results.md", 6), (second, "docs/results/tables.md", 5)):
        rows = [line for line in part.splitlines() if line.startswith("| ") and "[" in line]
        report = (ROOT / source).read_text().splitlines()
        assert len(rows) >= least
        assert [row for row in rows if row not in report] == []


def test_every_picture_and_link_leads_to_a_file():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_the_commands_it_shows_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    shown = set(re.findall(r"^make ([\w-]+)", README, flags=re.MULTILINE))
    assert {"repro", "test"} <= shown
    assert [name for name in shown if not re.search(rf"^{name}:", makefile, flags=re.MULTILINE)] == []
