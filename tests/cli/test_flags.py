"""Flags made from the configuration's sections."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import tyro

from encore_ray.cli.flags import section_flags
from encore_ray.config import PrepareOptions, ScoreOptions, WeighOptions
from encore_ray.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Command:
    weigh: Annotated[WeighOptions, section_flags(WeighOptions)]
    score: Annotated[ScoreOptions, section_flags(ScoreOptions)]
    prepare: Annotated[PrepareOptions, section_flags(PrepareOptions)]


def parse(*args: str) -> Command:
    return tyro.cli(Command, args=list(args), config=(tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone))


def test_no_flag_gives_the_sections_defaults() -> None:
    assert parse() == Command(weigh=WeighOptions(), score=ScoreOptions(), prepare=PrepareOptions())


def test_each_flag_sets_its_option() -> None:
    found = parse("--temperature", "1.5", "--clip", "--actors", "2,4", "--columns", "a", "b", "--num-bins", "8")
    assert (found.weigh.temperature, found.weigh.clip, found.weigh.num_bins) == (1.5, True, 8)
    assert found.score.actor_range == (2, 4)
    assert found.prepare.columns == ["a", "b"]


def test_the_environment_lies_under_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCORE_RAY_WEIGH_TEMPERATURE", "7")
    monkeypatch.setenv("ENCORE_RAY_WEIGH_NUM_BINS", "9")
    found = parse("--temperature", "1").weigh
    assert (found.temperature, found.num_bins) == (1.0, 9)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--temperature", "-1"], "command line: temperature: input should be greater than 0, found -1"),
        (["--edges", "quantile"], "every rule's entropy is log"),
        (["--actors", "2,1"], "expected 1 <= MIN <= MAX, found 2,1"),
        (["--unit-pairs", "0", "--max-field-bytes", "0"], "max_field_bytes"),
    ],
)
def test_a_wrong_flag_is_told_as_a_wrong_key_is(args: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(*args)
    assert said in str(caught.value)
