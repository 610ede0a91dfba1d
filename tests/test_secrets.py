"""What people keep secret stays so, and what strangers made runs no code and writes nowhere else."""

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from encore_ray.cli import COMMANDS, main
from encore_ray.config.sources import environment_values, load_config, make_config
from encore_ray.errors import ConfigError, DataError
from encore_ray.files.pickled import refuse_pickles
from encore_ray.folder.reading.tables import table_units
from encore_ray.job import run_job
from encore_ray.rules import RuleSet
from encore_ray.storage import Folder, absolute
from encore_ray.tracking import replay
from tests.corpora.prepared import prepare
from tests.passes import jobs
from tests.patience import PATIENCE_S

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED01",
    "AWS_SECRET_ACCESS_KEY": "planted/secret/access/key/of/forty/chars",
    "AWS_SESSION_TOKEN": "planted-session-token",
    "HF_TOKEN": "hf_plantedplantedplantedplanted",
    "MLFLOW_TRACKING_PASSWORD": "planted-mlflow-password",
    "MLFLOW_TRACKING_TOKEN": "planted-mlflow-token",
    "WANDB_API_KEY": "planted-api-key",
}
URI_SECRETS = ("planted-user", "planted-uri-password", "planted-uri-token")
SIGNED = "https://bucket.s3.amazonaws.com/pairs.jsonl?X-Amz-Signature=planted-signature&X-Amz-Credential=planted-id"


def run_command(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def files_with(folder: Path, secrets: list[str]) -> dict[str, list[str]]:
    """Files in which one of the secrets stands, byte for byte."""
    found = {}
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        here = [secret for secret in secrets if secret.encode() in data]
        if here:
            found[str(path)] = here
    return found


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# Secrets


@pytest.mark.usefixtures("tracked")
def test_no_planted_secret_is_in_any_byte_that_a_job_leaves(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    place = tmp_path / "place"
    place.mkdir()
    jobs.write_corpus(place / "corpus.jsonl", num_pairs=24)
    jobs.save_model(place / "model")
    user, password, token = URI_SECRETS
    uri = f"http://{user}:{password}@127.0.0.1:{closed_port()}/?access_token={token}"
    config = jobs.config(place, tracking={"uri": uri})
    job = tmp_path / "job.yaml"  # the person's own file, outside of what is searched
    job.write_text(config.to_yaml())
    assert uri in job.read_text()
    assert run_command("run", job) == 0  # the server is down: the run goes on, and says so
    assert run_command("run", job) == 0  # so does a resume
    wrong = {**yaml.safe_load(job.read_text()), "inputs": [SIGNED]}
    job.write_text(yaml.safe_dump(wrong))
    assert run_command("run", job) == 2
    told = capfd.readouterr()
    assert "MLflow at http://127.0.0.1:" in caplog.text
    assert replay(Folder(str(place / "run")), uri=f"sqlite:///{place}/mlflow.db").complete

    secrets = [*ENVIRONMENT.values(), *URI_SECRETS, "planted-signature", "planted-id"]
    assert "pairs.jsonl?X-Amz-Signature=***" in told.err
    assert [secret for secret in secrets if secret in told.out + told.err + caplog.text] == []
    assert (place / "mlflow.db").exists() and (place / "run" / "config.yaml").exists()
    assert files_with(place, secrets) == {}
    assert load_config(place / "run" / "config.yaml").tracking.uri == uri.split("//")[0] + "//" + uri.split("@")[
        1
    ].replace(token, "***")


@pytest.mark.parametrize(
    "path", [SIGNED, "s3://planted-key:planted-signature@bucket/x.jsonl", "https://h/x.jsonl?sig=planted-signature"]
)
def test_a_path_with_credentials_is_refused_before_it_is_written_anywhere(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({"inputs": [path], "run": str(tmp_path / "run")}))
    for words in (
        ("run", tmp_path / "job.yaml"),
        ("prepare", "--input", path, "--run", tmp_path / "run"),
        ("score", "--run", path, "--model", tmp_path),
        ("score", "--run", tmp_path, "--model", path),
        ("weigh", "--scores", path, "--output", tmp_path / "weights.json"),
        ("status", path),
        ("inspect", path),
    ):
        assert run_command(*words) == 2
        text = capsys.readouterr().err
        assert "leave credentials out of paths" in " ".join(text.split()), words
        assert "planted-signature" not in text and "planted-key" not in text
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="leave credentials out of paths"):
        absolute(path)


def test_a_traceback_of_ours_has_no_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(self: object, console: object) -> None:
        raise RuntimeError("at https://me:planted-password@host")

    monkeypatch.setattr(COMMANDS["status"], "main", broken)
    assert run_command("status", tmp_path) == 1
    text = capsys.readouterr().err
    assert "Traceback" in text and "RuntimeError: at https://host" in text
    assert "planted-password" not in text


# Code of strangers


class Bomb:
    """A pickle of it makes a file wherever it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def pickled_column(path: Path, mark: Path) -> None:
    """A Parquet file as Ray Data writes columns of Python objects."""
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectArray

    table = pa.table(
        {
            "prompt": ["Is tea hot?"],
            "chosen": ["Usually."],
            "rejected": ["Never."],
            "pair_id": ["a"],
            "extra": ArrowPythonObjectArray.from_objects([Bomb(mark)]),
        }
    )
    pq.write_table(table, path)


def test_a_corpus_of_pickled_objects_is_refused_and_not_run(tmp_path: Path) -> None:
    import ray.data  # noqa: F401  as in every worker: it teaches pyarrow to read such columns by running them

    corpus, mark = tmp_path / "corpus.parquet", tmp_path / "mark"
    pickled_column(corpus, mark)
    pq.read_table(corpus).to_pylist()
    assert mark.exists()  # what this is about
    mark.unlink()
    with pytest.raises(DataError, match=r"corpus\.parquet: the column extra holds pickled Python objects"):
        prepare(corpus)
    with pytest.raises(DataError, match="holds pickled Python objects"):
        table_units(str(corpus))
    with pytest.raises(DataError, match="holds pickled Python objects"):
        Folder(str(tmp_path)).read_table("corpus.parquet")
    assert not mark.exists()


def test_pickles_are_found_at_any_depth_by_programs_that_do_not_know_them() -> None:
    named = {b"ARROW:extension:name": b"ray.data.arrow_pickled_object"}
    inner = pa.field("x", pa.large_binary(), metadata=named)
    for kind in (pa.struct([inner]), pa.list_(inner), pa.map_(pa.string(), inner), pa.list_(pa.struct([inner]))):
        with pytest.raises(DataError, match="the column deep holds"):
            refuse_pickles(pa.schema([pa.field("plain", pa.string()), pa.field("deep", kind)]), "x.parquet")
    refuse_pickles(pa.schema([("a", pa.list_(pa.struct([("b", pa.large_binary())])))]), "x.parquet")


def test_a_pickle_is_no_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("pairs.pkl", "pairs.pt", "pairs.npy"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
        assert run_command("prepare", "--input", tmp_path / name, "--run", tmp_path / "run") == 2
        assert "unknown kind of file" in capsys.readouterr().err
    assert not (tmp_path / "mark").exists()


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    bomb = f"!!python/object/apply:os.system ['touch {tmp_path}/mark']"
    (tmp_path / "job.yaml").write_text(f"inputs: {bomb}\nrun: {tmp_path}/run\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "job.yaml")
    with pytest.raises(DataError, match="not valid YAML"):
        RuleSet.from_yaml(f"- name: {bomb}")
    with pytest.raises(ConfigError, match="not a YAML value"):
        environment_values({"ENCORE_RAY_WEIGH_TEMPERATURE": bomb})
    assert not (tmp_path / "mark").exists()


def test_names_in_the_data_write_nothing_outside_of_the_run_folder(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b" / "c"
    place.mkdir(parents=True)
    evil = "../../../evil"
    rows = [
        {
            "id": f"{evil}-{n}",
            "prompt": f"Question {n}?",
            "chosen": "Yes.",
            "rejected": "No.",
            "subset": evil,
            evil: evil,
            f"chosen__{evil}": n % 5 + 1,
            f"rejected__{evil}": 3,
            "chosen__kind": n % 5 + 1,
            "rejected__kind": 3,
        }
        for n in range(20)
    ]
    (place / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "rules.yaml").write_text(
        "- {name: kind, text: Is kind., higher_is: better, scale: {levels: [1, 2, 3, 4, 5]}}\n"
    )
    before = set(tmp_path.rglob("*"))
    job = make_config(
        {
            "inputs": [{"path": str(place / "corpus.jsonl"), "subset": evil}],
            "run": str(place / "run"),
            "rules": str(place / "rules.yaml"),
            "weigh": {"by_group": True},
            "tracking": {"experiment": evil, "run_name": evil},
        }
    )
    result = run_job(job)
    assert evil in result.metrics.subsets
    new = set(tmp_path.rglob("*")) - before
    allowed = ("run", "mlflow.db", "mlartifacts")
    assert not [path for path in new if not str(path.relative_to(place)).startswith(allowed)]
    assert not [path for path in new if "evil" in path.name]


@pytest.mark.ray
def test_a_local_job_listens_to_this_machine_only(tmp_path: Path) -> None:
    code = """
import psutil
from encore_ray.config import ClusterOptions
from encore_ray.engine.on_ray.cluster import cluster
with cluster(ClusterOptions()):
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                print(connection.laddr.ip, process.name())
"""
    listening = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
        env=dict(os.environ),
    ).stdout.splitlines()
    assert listening
    assert {line.split()[0] for line in listening} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
