"""How a model is to read conversations, from the options to the facts that decide its scores."""

from pathlib import Path
from typing import Any

import pytest

from encore_ray.config import ScoreOptions
from encore_ray.errors import ConfigError
from encore_ray.models.spec.conversation import Reading
from encore_ray.passes.scorers.model.reading import reading_facts, reading_of, with_template
from encore_ray.storage import fingerprint

SOURCE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({}, {}),
        ({"template": "auto", "bos": "tokenizer", "ending": "whole"}, {}),  # of those two the model decides
        ({"template": "plain"}, {"template": "plain-v1"}),
        ({"template": "pair"}, {"template": "pair-v1"}),
        ({"template": "tool_use", "system": "drop"}, {"template": "tool_use", "system": "drop"}),
        ({"clock": "2031-02-03"}, {"clock": "2031-02-03T00:00:00"}),
    ],
)
def test_what_differs_from_the_models_own_way_is_a_fact_and_nothing_else(
    options: dict[str, Any], facts: dict[str, str]
) -> None:
    assert reading_facts(with_template(ScoreOptions(**options))) == ({"reading": facts} if facts else {})


def test_all_options_reach_the_reading() -> None:
    options = ScoreOptions(
        template="pair", system="merge", clock="2031-02-03T00:00:00", bos="tokenizer", ending="whole"
    )
    assert reading_of(options) == Reading("pair-v1", None, "merge", "2031-02-03T00:00:00", "tokenizer", "whole")


def test_a_file_is_read_at_once_and_named_by_its_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(SOURCE)
    options = with_template(ScoreOptions(template=str(file)))
    file.unlink()
    assert reading_of(options) == Reading("file", SOURCE)
    assert reading_facts(options) == {"reading": {"template": fingerprint(SOURCE)}}
    with pytest.raises(ConfigError, match=r"Cannot read score\.template .*: no such file"):
        with_template(ScoreOptions(template=str(file)))
    file.write_text("no template")
    with pytest.raises(ConfigError, match="is no Jinja template"):
        with_template(ScoreOptions(template=str(file)))
