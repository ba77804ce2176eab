"""README.md: its commands are all known to the proof that runs them, its pictures and links are there."""

import json
import re
from pathlib import Path

from readme_table import RUNS, is_python, readme_commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_every_command_is_known_to_the_proof_that_runs_them():
    commands = [command for command in readme_commands(README) if not is_python(command)]
    assert [command for command in commands if command not in RUNS] == []
    assert [command for command in RUNS if command not in commands] == []


def test_what_the_jobs_say_is_what_they_said():
    page = (ROOT / "results" / "sample" / "jobs.md").read_text("utf-8").splitlines()
    shown = re.findall(r"^```text\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    assert len(shown) == 5
    for block in shown:
        lines = [text for text in block.splitlines() if text != "…"]
        said = iter(page)
        assert [text for text in lines if text not in said] == []  # each is looked for after the one before


def test_what_is_no_command_is_told_from_one():
    output = "```text\n$ emotion-ray old\nit said\n```\n"
    code = "```\nemotion-ray  new --flag    # a comment\n```\n```python\nx = 1\n```\n```\nemotion_ray/\n  data/\n```\n"
    assert readme_commands(output + code) == ["emotion-ray new --flag", "x = 1\n"]


def test_pictures_and_links_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_map_of_the_house_names_what_there_is():
    (block,) = re.findall(r"^```\nemotion_ray/\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"^  (\w+)/ ", block, flags=re.MULTILINE)
    packages = {path.parent.name for path in (ROOT / "emotion_ray").glob("*/__init__.py")}
    assert set(named) == packages


def test_the_figures_of_the_report_are_in_it():
    report = (ROOT / "results" / "sample" / "report.md").read_text("utf-8").replace("\\", "")
    (row,) = re.findall(r"^\|.*\| (.+) \| \[report\]", README, flags=re.MULTILINE)
    figures = re.findall(r"(\w+) ([\d.]+ \[[\d.]+, [\d.]+\])", row)
    assert [model for model, _ in figures] == ["LSTM", "attention"]
    for model, figure in figures:
        assert f"| **{model.lower()}** | **unseen actors, best epoch on validation actors** | **{figure}**" in report


def test_the_figures_are_those_of_the_pages():
    rows = re.findall(r"^\|.*\| (.+) \| `(\w+)`, \[\w+\]\((\S+)\.md\) \|$", README, flags=re.MULTILINE)
    assert len(rows) >= 9
    for told, name, page in rows:
        value = json.loads((ROOT / f"{page}.json").read_text("utf-8"))["ratios"][name]
        assert re.match(r"[\d.]+", told)[0] == f"{value:.3g}", name


def test_the_pages_of_results_are_there_and_all_listed():
    folder = ROOT / "results"
    listed = set(re.findall(r"\]\(([^)#]+)\)", (folder / "README.md").read_text("utf-8")))
    pages = {str(path.relative_to(folder)) for path in folder.rglob("*.md")} - {"README.md"}
    assert listed == pages
