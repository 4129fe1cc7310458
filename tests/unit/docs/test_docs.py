"""Documents name only what exists: commands with their options, files, links, make targets."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from twinstack.cli.main import root

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code_lines(document: Path) -> list[str]:
    """The lines of code blocks, fenced or indented."""
    lines, fenced = [], False
    for line in document.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line.strip())
    return lines


def commands() -> list[tuple[str, str]]:
    found = []
    for document in DOCUMENTS:
        for line in code_lines(document):
            words = re.sub(r"^([A-Z_]+=\S+ )+", "", line)
            if words.startswith("twinstack "):
                found.append((document.name, words))
        for words in re.findall(r"`(twinstack [^`]+)`", document.read_text(encoding="utf-8")):
            if not re.search(r"[\[<|]|\.\.\.", words):  # a synopsis is no example
                found.append((document.name, words.replace("\n", " ")))
    return sorted(set(found))


@pytest.mark.parametrize(("document", "line"), commands())
def test_each_command_of_a_document_is_understood(document: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(root)
    name = "twinstack"
    while hasattr(command, "commands") and words and words[0] in command.commands:
        name = words.pop(0)
        command = command.commands[name]
    if hasattr(command, "commands"):
        assert not words, f"{document}: '{line}': no command '{words[0]}'"
        return
    optional = len(words) == 0  # `twinstack tail` in running text names the command only
    command.make_context(name, words, resilient_parsing=optional)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_each_link_and_anchor_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = document.parent / path if path else document
        assert there.exists(), f"{document.name} links to {target}"
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", there.read_text(encoding="utf-8"))
            slugs = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{document.name} links to {target}"


def test_each_program_and_make_target_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"python3 (demos/\S+\.py)", text)
    assert len(programs) == 6
    assert all((ROOT / program).exists() for program in programs)
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for document in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z-]+)", document.read_text(encoding="utf-8"))) <= targets
