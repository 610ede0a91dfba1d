"""Which heavy libraries a command loads: those that it runs, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.rated import save_rated

HEAVY = ("ray", "torch", "transformers", "mlflow", "matplotlib", "scipy", "pandas")
NUM_PAIRS = 40

# In the order in which they are done; what a command may load beside numpy, pyarrow and the command line's own.
LOADS: dict[tuple[str, ...], set[str]] = {
    ("check", "job.yaml"): {"pandas", "scipy"},  # counts as weigh does
    ("prepare", "--input", "rated.jsonl", "--run", "run"): {"pandas"},  # pyarrow takes a list to a column by it
    ("run", "job.yaml"): {"matplotlib", "pandas", "scipy"},
    ("weigh", "--scores", "run/scores", "--output", "weights.json"): {"scipy"},  # quantiles of Student's t
    ("compose", "--scores", "run/scores", "--weights", "weights.json", "--output", "rewards"): set(),
    ("evaluate", "--rewards", "rewards", "--output", "evaluated"): {"matplotlib"},
    ("compare", "--scores", "run/scores", "--output", "compared"): {"scipy"},
    ("select", "--run", "run", "--num-rules", "1"): {"pandas"},
    ("report", "run"): set(),
    ("report", "run", "compared", "--output", "both.html"): set(),
    ("status", "run"): set(),
    ("inspect", "run"): set(),
    ("inspect", "weights.json"): set(),
    ("inspect", "run/comparison.json"): set(),
    ("export", "--run", "run", "--format", "trl", "--output", "pairs.jsonl"): set(),
    ("rules",): set(),
    ("--help",): set(),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus that brings ratings along, and a job."""
    folder = tmp_path_factory.mktemp("imports")
    save_rated(folder, num_pairs=NUM_PAIRS)
    return folder


@pytest.mark.parametrize("command", LOADS, ids=" ".join)
def test_a_command_loads_what_it_runs(place: Path, command: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom encore_ray.cli import main\n"
        f"try:\n    main({list(command)!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('loaded', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {**os.environ, "ENCORE_RAY_CLUSTER_ENGINE": "auto"}
    done = subprocess.run([sys.executable, "-c", code], cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    assert loaded == LOADS[command]
