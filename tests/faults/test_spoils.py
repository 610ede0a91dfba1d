"""What is spoilt between two commands is made again, or named and put back: then it is as if nothing had been."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.runs import REFUSED, RESULTS, Ended, Reference, Setup, judge, read_all
from tests.faults.spoils import SPOILS
from tests.fuzz.commands import run_command


@pytest.fixture
def home(setup: Setup) -> Iterator[Path]:
    """Where the job lies before and after a test that may move it."""
    place = setup.folder
    yield place
    if setup.folder != place:
        setup.move(place)


def run_again(setup: Setup, name: str) -> Ended:
    """The command once more, in this process."""
    code, said = run_command(["run", str(setup.job(name)), "--set", "cluster.engine=local"])
    return Ended(code, said, fired=[], seconds=0.0)


@pytest.mark.parametrize("kind", [kind for kind in SPOILS if kind != "swapped_model"])
def test_what_is_spoilt_is_made_again_or_named(setup: Setup, reference: Reference, home: Path, kind: str) -> None:
    shutil.copytree(reference.run, home / kind)
    if kind != "changed_result":  # what follows scores/ is still to do
        for result in (*RESULTS, "rewards", "report"):
            place = home / kind / result
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    spoilt = SPOILS[kind](random.Random(1), setup, home / kind)
    assert spoilt is not None
    ended = run_again(setup, kind)
    assert not ended.problems_beside(spoilt.named), (str(spoilt), ended.output)
    if ended.code in REFUSED:
        spoilt.put_back()
        ended = run_again(setup, kind)
        assert ended.code == 0, ended.output
    run = setup.folder / kind
    if not judge(run, reference).survived:  # of what no pass had to read again, its reader is told
        assert any(name in read_all(run) for name in spoilt.named)
        spoilt.put_back()
    verdict = judge(run, reference)
    assert verdict.survived, (str(spoilt), verdict)
