"""docs/trust.md: each sentence names the test that holds it, and that test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
SENTENCES = re.findall(r"^- (.*?)(?=^- |^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda text: " ".join(text.split())[:60])
def test_a_sentence_names_a_test_that_is_there(sentence: str) -> None:
    named = re.findall(r"`(tests/[^`]+)`", sentence)
    assert named, f"no test is named: {sentence}"
    for name in named:
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function in tests if function else any(one.startswith("test_") for one in tests), name


def test_the_document_has_sentences() -> None:
    assert len(SENTENCES) > 20
