"""SECURITY.md promises a test for each of its lines: they are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")]
PROMISES = [row for row in ROWS if not row.startswith("| what may happen")]


@cache
def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row.split("|")[1].strip()[:50])
def test_each_line_names_a_test_that_is_there(row):
    threat, protection, named = (cell.strip() for cell in row.strip("|").split("|"))
    assert threat
    assert protection
    file, name = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", named).groups()
    assert name in functions_of(ROOT / file)


def test_every_part_has_lines():
    parts = re.split(r"^## ", (ROOT / "SECURITY.md").read_text(), flags=re.MULTILINE)[1:]
    assert {part.splitlines()[0] for part in parts} == {
        "Archives",
        "Videos",
        "Model files",
        "Uploads and the service",
        "The network",
        "Ray, and other users of the machine",
        "Secrets",
    }
    assert all("::test_" in part for part in parts)
