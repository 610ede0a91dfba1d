"""What a command was given goes on into the lines that it ends with, and these work as they stand."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import encore_ray
from encore_ray.cli.flags import weigh_words
from encore_ray.cli.parsing import parse
from encore_ray.composition.weigh.schemes import SCHEMES
from encore_ray.config import WeighOptions
from encore_ray.errors import DataError
from encore_ray.shell import again, called_as, option
from tests.passes.test_foreign_scores import run

GIVEN = ("--clip", "--score-range", "unit", "--temperature", "1", "--chosen", "{rule}_up", "--rejected", "{rule}_down")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two rules of other ranges, one score of which lies outside: a table that is read by options alone."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    columns = {
        f"{rule}_{side}": top * (0.5 + shift + 0.1 * rng.standard_normal(80)).clip(0, 1)
        for rule, top in (("harm", 1), ("help", 5))
        for side, shift in (("up", 0.15), ("down", -0.15))
    }
    columns["harm_up"][7] = 1.5
    pd.DataFrame(columns).to_csv("s.csv", index=False)
    scale = "{name: NAME, text: x, higher_is: better, scale: {lo: 0, hi: TOP}}"
    rules = [scale.replace("NAME", name).replace("TOP", top) for name, top in (("harm", "1"), ("help", "5"))]
    Path("rules.yaml").write_text(f"[{', '.join(rules)}]\n")
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[str]]:
    """The commands that one ends with, by their names."""
    capsys.readouterr()
    assert run(*words, "--json") == 0, capsys.readouterr().err
    found = [shlex.split(line) for line in json.loads(capsys.readouterr().out)["next"]]
    return {line[1]: line[1:] for line in found}


def test_lines_to_paste_carry_what_was_given_and_lead_around(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weighed = lines(capsys, "weigh", "--scores", "s.csv", "--output", "weights.json", *GIVEN)
    for _ in range(2):  # the second time, all results are there already
        assert set(GIVEN) <= {*weighed["compare"]}
        lines(capsys, *weighed["compose"])
        compared = lines(capsys, *weighed["compare"])
        assert set(GIVEN) - {"--temperature", "1"} <= {*compared["weigh"]}  # which uniform weights do not look at
        lines(capsys, *compared["weigh"])


def test_what_a_run_has_been_given_is_not_told_again(place: Path) -> None:
    command = parse(["weigh", "--scores", "s.csv", "--output", "w.json"])
    assert command.options == WeighOptions()  # type: ignore[attr-defined]
    assert weigh_words(WeighOptions(), "encore") == []


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if not scheme.why_only_compared])
def test_a_scheme_gets_the_options_that_it_takes(scheme: type, tmp_path: Path) -> None:
    given = WeighOptions(temperature=1, seed=3, by_group=True, num_bins=7, clip=True, log_base="2")
    words = weigh_words(given, scheme.name)
    assert {"--num-bins", "7", "--clip", "--log-base", "2"} <= {*words}
    assert ("--temperature" in words) == ("temperature" in scheme.takes)
    assert ("--seed" in words) == ("seed" in scheme.takes)
    own = ["--rule", "harm"] if "rule" in scheme.takes else []
    parsed = parse(["weigh", "--scores", "s", "--output", "w", "--scheme", scheme.name, *own, *words])
    assert parsed.options.num_bins == 7  # type: ignore[attr-defined]


def test_an_option_that_the_scheme_of_the_run_does_not_look_at_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run").mkdir()
    Path("run/config.yaml").write_text("weigh: {scheme: uniform, temperature: 3.0}\n")
    assert run("weigh", "--run", "run", "--temperature", "0.5") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "--temperature is of scheme encore, consensus_encore; the run's scheme, uniform, does not look at it." in said
    )
    assert "weigh --run run --temperature 0.5 --scheme encore" in said
    assert run("weigh", "--run", "run", "--temperature", "3") == 2  # as the run has it: refused for its scores alone
    assert "No such file or folder" in capsys.readouterr().err
    assert run("weigh", "--scores", "s.csv", "--output", "w.json", "--scheme", "uniform", "--seed", "3") == 2
    assert "--seed is of scheme random; scheme, uniform, does not" in " ".join(capsys.readouterr().err.split())


def test_scores_outside_of_a_scale_that_no_file_has_lead_to_lines_that_work(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("rules.yaml").unlink()
    frame = pd.read_csv("s.csv").rename(columns=lambda name: name.replace("up", "chosen").replace("down", "rejected"))
    frame.loc[7, "harm_chosen"] = 50
    frame.to_csv("s.csv", index=False)
    words = ("weigh", "--scores", "s.csv", "--output", "w.json", "--score-range", "unit")
    assert run(*words) == 3
    told = capsys.readouterr().err
    said = " ".join(told.split())
    assert "Mend those that are slips, or stand for no rating, or count such scores in the end cells: --clip" in said
    assert "scale: {" not in said and "out_of_range: clip" not in said  # neither is to be written anywhere, or helps
    clip, init = [shlex.split(line)[1:] for line in told.splitlines() if line.startswith("  ") and "encore-ray" in line]
    assert run(*init) == 0
    assert Path("rules.yaml").exists()
    assert clip == [*words, "--clip"]
    assert run(*clip) == 0


def test_a_function_is_told_in_its_own_words_what_to_do_about_scores_outside_of_a_scale(place: Path) -> None:
    frame = pd.read_csv("s.csv").rename(columns=lambda name: name.replace("up", "chosen").replace("down", "rejected"))
    frame.loc[7, "harm_chosen"] = 50
    with pytest.raises(DataError) as refused:
        encore_ray.weigh(frame, options={"score_range": "unit"})
    assert "options={'clip': True}" in str(refused.value)
    assert "--" not in str(refused.value) and "rules.yaml" not in str(refused.value)


def test_a_job_is_told_of_clipping_as_its_file_has_it() -> None:
    with called_as(["run", "job.yaml"]):
        assert option("clip", True, section="weigh") == "--set weigh.clip=true"
        assert again(section="weigh", clip=True).endswith("run job.yaml --set weigh.clip=true")
        assert again(overwrite=True).endswith("run job.yaml --overwrite")
