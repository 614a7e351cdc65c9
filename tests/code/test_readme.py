"""The README and the pages beside it show what files of the repository say."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from fabnet import __version__
from fabnet.config import load_params

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def headline(report: str) -> list[str]:
    """Lines of a report before the table of the paper's probe, whose rows look alike."""
    return (ROOT / report).read_text().split("### With the paper's probe")[0].splitlines()


def test_every_row_of_scores_is_a_row_of_the_report():
    """The first table is of the pipeline, the second of the run of the profile `tables`."""
    first, second = [part.split("\n\n")[0] for part in README.split("| encoder |")[1:]]
    for part, source, least in ((first, "reports/results.md", 6), (second, "docs/results/tables.md", 5)):
        rows = [line for line in part.splitlines() if line.startswith("| ") and "[" in line]
        report = headline(source)
        assert len(rows) >= least
        assert [row for row in rows if row not in report] == []


def test_the_commands_it_shows_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    shown = set(re.findall(r"^make ([\w-]+)", README, flags=re.MULTILINE))
    assert {"repro", "test"} <= shown
    assert [name for name in shown if not re.search(rf"^{name}:", makefile, flags=re.MULTILINE)] == []


# -- the cards and what else stands beside the README -----------------------------------------------------------------

PAGES = ["README.md", "DATA_CARD.md", "MODEL_CARD.md", "CONTRIBUTING.md", "SECURITY.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_and_link_leads_to_a_file(page):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert targets
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_the_model_card_has_the_scores_of_the_report_and_the_shares_of_retrieval():
    card = (ROOT / "MODEL_CARD.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith("| ") and "[" in line and "°" not in line]
    scores = [line for line in rows if line.count("[") == 8]
    assert {"fabnet_3src", "constant", "random"} <= {line.split(" | ")[0].removeprefix("| ") for line in scores}
    assert [line for line in scores if line not in headline("reports/results.md")] == []
    found = json.loads((ROOT / "reports/retrieval/sets/synthetic.json").read_text())["scores"]["kept"]
    own, chance = (found[name]["identity_share_pct"]["value"] for name in ("fabnet_3src", "chance"))
    assert f"{own:.1f} % of the ten nearest test faces are of the query's own identity" in " ".join(card.split())
    assert f"chance gives {chance:.1f} %" in card


def test_the_cards_have_the_sizes_of_params():
    params = load_params(ROOT / "params.yaml")
    videos, faces, split = params.synthesize.videos, params.synthesize.faces, params.split
    parts = [faces.train, faces.validation, faces.test]
    data = (ROOT / "DATA_CARD.md").read_text()
    for said in (
        f"{videos.identities}, one video each",
        f"{sum(parts)} others: {faces.train} train, {faces.validation} validation, {faces.test} test",
        f"{videos.seconds:g} s each, {videos.fps:g} frame per second: {videos.identities * videos.seconds:,.0f} frames",
        f"{faces.per_identity} faces each: {faces.per_identity * sum(parts):,} faces",
        "(" + " / ".join(f"{faces.per_identity * part:,}" for part in parts) + ")",
        " / ".join(f"{videos.identities * part // 100}" for part in (split.train, split.validation, split.test)),
        f"{params.synthesize.image_size} x {params.synthesize.image_size} px",
        f"`synthesize.seed`, {params.synthesize.seed}",
        f"{params.extract.image_size} x {params.extract.image_size} px",
    ):
        assert said in data, said
    model, variant = (ROOT / "MODEL_CARD.md").read_text(), params.train.variant("fabnet_3src")
    train = videos.identities * split.train // 100
    for said in (
        f"{variant.base_filters} base filters",
        f"{params.extract.image_size} x {params.extract.image_size} px",
        f"{train * videos.seconds:,.0f} frames of {train} identities, {variant.samples:,} samples of four frames",
        f"{faces.per_identity * faces.test:,} test faces of {faces.test} identities",
    ):
        assert said in model, said
    assert variant.views == 4


def test_the_citation_names_this_version_and_its_form_is_legal():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["preferred-citation"]["title"] in " ".join(README.split())
    assert re.search(rf"^## {re.escape(__version__)} ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


def test_paths_that_the_docs_name_exist():
    """Of benchmarks and results, which are records, and of the changelog, older paths stand."""
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md"), *ROOT.glob("*_CARD.md")]
    pages.append(ROOT / "findings/README.md")
    code = re.compile(r"`((?:fabnet|stages|tests|studies|benchmarks|findings|docs|profiles)/[\w./-]+)`")
    named = [(page.name, path) for page in pages for path in code.findall(page.read_text())]
    assert len(named) > 50
    assert [(page, path) for page, path in named if not (ROOT / path).exists()] == []


def test_the_notice_names_every_file_of_another_licence():
    named = set(re.findall(r"^  (fabnet/\S+)", (ROOT / "NOTICE").read_text(), flags=re.MULTILINE))
    theirs = [path for path in (ROOT / "fabnet/video/bundled").iterdir() if path.is_file() and path.suffix != ".py"]
    assert theirs
    assert named == {path.relative_to(ROOT).as_posix() for path in theirs}


def test_every_finding_is_a_row_of_their_page_and_stands_alone():
    rows = re.findall(
        r"^\| \[([\w-]+)\]\(([\w-]+)\.sh\) \|", (ROOT / "findings/README.md").read_text(), flags=re.MULTILINE
    )
    scripts = sorted((ROOT / "findings").glob("*.sh"))
    assert len(scripts) >= 10
    assert sorted(rows) == [(path.stem, path.stem) for path in scripts]
    for path in scripts:
        text = path.read_text()
        assert os.access(path, os.X_OK), path.name
        assert subprocess.run(["bash", "-n", path]).returncode == 0, path.name
        assert "set -euo pipefail" in text, path.name
        assert "rm -rf" in text, path.name
        assert re.search(r"[\w-]+==\d", text), path.name
        # Installed without fabnet, and run without it.
        assert not re.search(r"fabnet|PYTHONPATH", text), path.name
