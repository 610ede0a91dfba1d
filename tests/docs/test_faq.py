"""What docs/faq.md quotes is what the commands say."""

import ast
import re
from functools import cache

import pytest

from tests.docs.pages import DOCS, ROOT, text_of

FAQ = DOCS / "faq.md"
QUOTED = re.compile(r'^### .*?"(.+)"', flags=re.M)


@cache
def said() -> str:
    """Every text in the code, … in place of each value that is put into it."""
    texts = []
    for module in sorted((ROOT / "encore_ray").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(" ".join(text.split()) for text in texts)


@pytest.mark.parametrize("quote", QUOTED.findall(text_of(FAQ)))
def test_a_quoted_message_is_one_of_the_commands(quote: str) -> None:
    pattern = ".*?".join(re.escape(part) for part in quote.split("…"))
    assert re.search(pattern, said()), quote


def test_there_are_many_symptoms_and_each_says_what_to_do() -> None:
    symptoms = text_of(FAQ).split("\n### ")[1:]
    assert len(symptoms) > 20
    assert all(len(symptom.partition("\n")[2].split()) > 8 for symptom in symptoms)
