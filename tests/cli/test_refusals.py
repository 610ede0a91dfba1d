"""What can be refused before Ray starts is: every command here would need Ray, and does not get to it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from encore_ray.cli import main
from encore_ray.shell import command
from tests.cli.rated import save_rated
from tests.models import tiny
from tests.passes import jobs
from tests.patience import PATIENCE_S

WEIGH = "weigh --scores scored/scores --output w.json"
FIT = "fit-heads --run scored --model models/base --output models/heads"
TRAIN = "train --run scored --model models/base --output models/trained"

# Commands in a folder with a finished run on ratings (`run`), one that a model has scored (`scored`), and the end of
# what each says. Ray is not there: to start it would be a defect, exit code 1.
REFUSED: dict[str, str] = {
    # files and their keys
    "run nowhere.yaml": "Cannot read the configuration nowhere.yaml: no such file.",
    "run jbo.yaml": "no such file. Did you mean job.yaml?",
    "check jbo.yaml": "no such file. Did you mean job.yaml?",
    "chain jbo.yaml": "no such file. Did you mean job.yaml?",
    "run job.yaml --set rules=rulse.yaml": "rules.yaml?",
    "run job.yaml --set inputs=rated.json": "rated.jsonl?",
    "run job.yaml --set weigh.ratings=nowhere": "No such file or folder",
    "run scored.yaml --set score.template=nowhere.jinja": "Cannot read score.template",
    "evaluate --rewards run/rewards --weights run/weihgts.json --output o": "run/weights.json?",
    "weigh --run rnu": "run/scores?",
    "weigh --run run --ratings nowhere": "No such file or folder",
    "compare --run run --ratings nowhere": "No such file or folder",
    "status rnu": "run?",
    "track rnu": "run?",
    "run job.yaml --set inputs=nowhere.jsonl": "nowhere.jsonl: no such file or folder",
    "run job.yaml --set rules=nowhere.yaml": "Cannot read the rules in",
    "run job.yaml --set model=./nowhere": "No such file or folder",
    "run job.yaml --set run=. ": "holds the input",
    "run job.yaml --set weigh.temprature=1": "unknown option",
    "run job.yaml --set weigh.temperature=0": "should be greater than 0",
    "run job.yaml --limit 0": "expected 1 pair or more",
    "run --input rated.jsonl --rules nowhere.yaml --run other": "nowhere.yaml",
    "prepare --input nowhere.jsonl --run other": "no such file or folder",
    "prepare --input rated.jsonl --run other --max-bad-fraction 2": "max_bad_fraction",
    "prepare --input rated.jsonl --run other --map prompt": "expected NAME=COLUMN",
    "prepare --input notes.pkl --run other": "unknown kind of file",
    # what stands is of something else
    "run job.yaml --set prepare.unit_pairs=7": "unit_pairs",
    "run job.yaml --set prepare.ids=row": "ids",
    "run job.yaml --set weigh.temperature=9": "temperature",
    "prepare --input rated.jsonl --run run --unit-pairs 7": "unit_pairs",
    "weigh --run run --temperature 9": "temperature",
    "compare --run run --temperature 9": "temperature",
    "score --run scored --model models/other": "model was",
    "score --run scored --model models/model --max-tokens 9": "max_tokens",
    "run scored.yaml --set model=models/other": "model was",
    # models and rules
    "score --run run --model models/base": "",
    "score --run scored --model models/model --rules rules.yaml": "rules",
    "score --run run --model ./nowhere": "No such file or folder",
    "rate --run run --judge ./nowhere": "No such file or folder",
    "rate --run run --judge models/base --rules nowhere.yaml": "nowhere.yaml",
    "select --run run --adapter ./nowhere": "No such file or folder",
    f"{FIT} --rules nowhere.yaml": "nowhere.yaml",
    f"{FIT} --rules rules.yaml --labels nowhere": "nowhere",
    f"{TRAIN} --objective regression": "rules",
    f"{TRAIN} --objective bradley-terry --labels nowhere": "nowhere",
    # passes without what they read
    "weigh --run nowhere": "nowhere/scores",
    "compose --run nowhere": "nowhere/scores, ",
    "compose --scores scored/scores --weights w.json --output o": "{} weigh --scores scored/scores --output w.json",
    "evaluate --run nowhere": "nowhere/rewards",
    "compare --run nowhere": "nowhere/scores",
    "refine fit --run run": "embeddings",
    "select --run nowhere": "nowhere/scores",
    f"{WEIGH} --rules nowhere.yaml": "nowhere.yaml",
    f"{WEIGH} --rules rules.yaml": "rules",
    "compose --scores scored/scores --weights rules.yaml --output o": "",
    "submit nowhere.yaml --address http://127.0.0.1:9": "nowhere.yaml",
}

SCRIPT = """
import contextlib, io, json, sys
sys.modules["ray"] = None
from encore_ray.cli import main
from encore_ray.shell import command
for words in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(words.split())
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([words, code, " ".join(said.getvalue().split())]), flush=True)
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """What every command ended with and said, all in one process without Ray."""
    place = tmp_path_factory.mktemp("refusals")
    before = Path.cwd()
    os.chdir(place)
    try:
        save_rated(place, num_pairs=12)
        (place / "notes.pkl").write_bytes(b"")
        jobs.write_corpus(place / "corpus.jsonl", num_pairs=8)
        jobs.save_model(place / "models" / "model")
        tiny.save_own_form(place / "models" / "other", "gpt2", pooling="last", rules=jobs.CLIPPED)
        tiny.save_classifier(place / "models" / "base", "bert")
        (place / "scored.yaml").write_text("inputs: corpus.jsonl\nmodel: models/model\nrun: scored\n")
        for job in ("job.yaml", "scored.yaml"):
            with pytest.raises(SystemExit) as ended:
                main(["run", job])
            assert not ended.value.code
        environment = {**os.environ, "ENCORE_RAY_CLUSTER_ENGINE": "ray"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=json.dumps([*REFUSED]),
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
    finally:
        os.chdir(before)
        shutil.rmtree(place / "models")
    found = (json.loads(line) for line in done.stdout.splitlines())
    return {words: (code, said) for words, code, said in found}


@pytest.mark.parametrize("words", REFUSED)
def test_a_refusal_comes_before_ray_is_started(words: str, refusals: dict[str, tuple[int, str]]) -> None:
    code, said = refusals[words]
    assert code in (2, 3, 4), said
    assert REFUSED[words].format(command("encore-ray")) in said
    assert "Traceback" not in said
