"""The examples of docs/client.md run, in their order, on a client without a server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "client.md"


def test_the_examples_run_in_the_order_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, object] = {}
    ran = 0
    for found in re.finditer(r"```python\n(.*?)```", text, re.DOTALL):
        line = text.count("\n", 0, found.start(1))
        code = compile("\n" * line + found[1], str(PAGE), "exec")
        if "localhost" not in found[1]:  # those need a server
            exec(code, names)
            ran += 1
    assert ran == 9
