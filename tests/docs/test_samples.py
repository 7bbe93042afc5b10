"""The samples in the documentation are valid, and what they import exists."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.literate import DISTRIBUTIONS, ROOT, Block, blocks

PAGES = sorted(
    [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *(folder / "README.md" for folder in DISTRIBUTIONS[1:])]
)
#: The packages of the distributions.
PACKAGES = {"dsn_core", *(folder.name.replace("-", "_") for folder in DISTRIBUTIONS[1:])}
PAGES = [page for page in PAGES if "_build" not in page.parts]


def samples(language: str) -> list[object]:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}:{block.line}")
        for page in PAGES
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language == language
    ]


@pytest.mark.parametrize("block", samples("python"))
def test_python_is_valid_and_imports_what_exists(block: Block) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            module = importlib.import_module(node.module or "")
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("block", samples("toml"))
def test_toml_is_valid(block: Block) -> None:
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^(```+|:::+).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["flow", "states"])
def test_picture_is_readable_by_everybody(name: str) -> None:
    path = ROOT / f"docs/images/{name}.svg"
    root = ElementTree.parse(path).getroot()  # noqa: S314 (our own file)
    namespace = "{http://www.w3.org/2000/svg}"
    identifiers = {element.get("id") for element in root.iter()}
    assert root.get("role") == "img"
    assert set((root.get("aria-labelledby") or "").split()) <= identifiers
    assert (root.findtext(f"{namespace}title") or "").strip()
    assert len((root.findtext(f"{namespace}desc") or "").split()) > 20
    assert "prefers-color-scheme: dark" in path.read_text(encoding="utf-8")
