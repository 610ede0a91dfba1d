"""The weights beside rewards are those that they were composed by, or are refused."""

import json
import shutil
from pathlib import Path

import pytest

from encore_ray.artifacts import read_weights
from encore_ray.cli import main
from encore_ray.errors import DataError
from encore_ray.folder.composed import composed_weights
from encore_ray.storage import Folder

RUN = Path(__file__).parent / "protocol" / "released" / "schema_1" / "run"


def exit_code(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_weights_of_other_rewards_are_refused_where_they_are_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(RUN, tmp_path / "run")
    rewards = tmp_path / "run" / "rewards"
    assert composed_weights(Folder(str(rewards))).fingerprint == read_weights(Folder(str(RUN))).fingerprint
    weighing = ("weigh", "--scores", tmp_path / "run" / "scores", "--temperature", "5")
    assert exit_code(*weighing, "--output", rewards / "weights.json", "--overwrite") == 0
    with pytest.raises(DataError, match=r"rewards/weights\.json is not of these rewards.*Compose again"):
        composed_weights(Folder(str(rewards)))
    capsys.readouterr()
    assert exit_code("evaluate", "--rewards", rewards, "--output", tmp_path / "evaluated") == 3
    assert "is not of these rewards" in " ".join(capsys.readouterr().err.split())
    (rewards / "plan.json").unlink()  # of a copy without a plan, nothing else is known
    assert composed_weights(Folder(str(rewards))).to_dict() == json.loads((rewards / "weights.json").read_text())
