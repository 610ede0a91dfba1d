"""A small job in a folder, its commands with faults armed, and what its run folder must hold at the end."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from encore_ray.artifacts import Comparison, Metrics, WeightsFile
from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.engine.base import EngineName
from encore_ray.errors import DataError, EncoreError
from encore_ray.folder.protocol.seal import read_manifest, read_seal
from encore_ray.folder.reading.tables import table_units
from encore_ray.rules import RuleSet
from encore_ray.schema import COMPARISON_FILE, METRICS_FILE, PAIR_ID, WEIGHTS_FILE
from encore_ray.storage import Folder, content_digest
from tests.corpora.prepared import write_as
from tests.faults.plans import CommandPlan, Fault, Steps
from tests.object_store import CREDENTIALS, Store
from tests.passes import jobs

BUCKET = "runs"
COMMAND_TIMEOUT_S = 600.0  # memory alone is waited for for five minutes
STARTS = 5  # of a command whose Ray is not up within the 30 s that it gives itself, on a machine that is busy
RAY_IS_SLOW = "The current node timed out during startup"
OUT_OF_MEMORY = "The node has no memory left"
TABLES = ("pairs", "scores", "rewards")
RESULTS = (WEIGHTS_FILE, METRICS_FILE, COMPARISON_FILE)
ERROR, REFUSED = "encore-ray:", frozenset({2, 3, 4})  # how a command says what is wrong, and what it ends with then
SIGNALLED = {-signal.SIGTERM: 143, -signal.SIGINT: 130}  # a shell tells both in the same way
INPUT_KINDS = ("jsonl", "parquet", "jsonl.gz", "json", "ndjson", "json.gz")
NUM_RULES = 4
SOURCE = b"encore_ray.model_source"  # in the metadata of scores: where a model lay does not decide them


@dataclass
class Setup:
    """A corpus, and a model or ratings, in a folder; runs of it lie beside them, or on an object store.

    Attributes:
        folder: for all files.
        inputs: local ones; none where they are on the store.
        config: what is the same in every run.
        store: a bucket of this name has inputs and runs; or None.
        endpoint: by which jobs reach the store.
    """

    folder: Path
    inputs: tuple[Path, ...]
    config: dict[str, Any]
    store: Store | None = None
    endpoint: str = ""

    def run(self, name: str) -> str:
        """Path or URI of the run folder of this name."""
        return f"s3://{BUCKET}/{name}" if self.store else str(self.folder / name)

    def job(self, name: str) -> Path:
        """The YAML file of a run of this name."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**self.config, "run": self.run(name)}))
        return path

    @property
    def weights(self) -> list[str]:
        """Files of the model's weights, relative to the folder; none where the job has no model."""
        model = self.config.get("model")
        return sorted(str(file.relative_to(self.folder)) for file in Path(model).glob("*.safetensors")) if model else []

    def move(self, folder: Path) -> None:
        """Lie elsewhere from now on, with all runs; the configuration says so."""
        before, after = str(self.folder), str(folder)
        self.folder.rename(folder)
        self.folder = folder
        self.inputs = tuple(folder / file.relative_to(before) for file in self.inputs)
        self.config = json.loads(json.dumps(self.config).replace(before, after))

    @property
    def environment(self) -> dict[str, str]:
        """Variables that a job needs."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint} if self.store else {}

    def fetched(self, name: str) -> Path:
        """The run folder of this name as a local one."""
        place = self.folder / name
        if self.store:
            for key, data in self.store.objects(BUCKET, f"{name}/").items():
                (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / key).write_bytes(data)
        return place


def make_setup(
    folder: Path, *, with_model: bool, num_files: int = 6, pairs_a_file: int = 16, unit_pairs: int = 4
) -> Setup:
    """Files of every kind with one bad row each; scored by a tiny model, or by ratings that they bring along."""
    folder.mkdir(parents=True)
    corpus = planted_text(num_files * pairs_a_file, seed=5)
    rules = RuleSet(list(corpus.world.rules)[:NUM_RULES])
    rows: list[dict[str, Any]] = [dict(row) for row in corpus.rows]
    if not with_model:
        for k, name in enumerate(rules.names):
            for n, row in enumerate(rows):
                row[f"chosen__{name}"] = float(corpus.world.chosen_NK[n, k])
                row[f"rejected__{name}"] = float(corpus.world.rejected_NK[n, k])
    inputs = []
    for index in range(num_files):
        part = rows[index * pairs_a_file : (index + 1) * pairs_a_file]
        place = folder / f"input-{index}"
        place.mkdir()
        inputs.append(write_as(place, INPUT_KINDS[index % len(INPUT_KINDS)], [*part, {**part[0], "prompt": ""}]))
    config: dict[str, Any] = {
        "inputs": [str(path) for path in inputs],
        "prepare": {"unit_pairs": unit_pairs, "max_bad_fraction": 0.5},
        "tracking": {"enabled": False},
        "cluster": {"no_progress_timeout_s": 120, "unit_timeout_s": 15},
    }
    if with_model:
        config["model"] = str(jobs.save_model(folder / "model"))
        config["score"] = {"actors": "2"}
    else:
        (folder / "rules.yaml").write_text(rules.to_yaml())
        config["rules"] = str(folder / "rules.yaml")
    return Setup(folder, tuple(inputs), config)


def onto_store(setup: Setup, store: Store, endpoint: str) -> Setup:
    """The same with inputs and runs on an object store."""
    store.empty(BUCKET)
    inputs = []
    for path in setup.inputs:
        key = f"inputs/{path.relative_to(setup.folder)}"
        store.client.upload_file(str(path), BUCKET, key)
        inputs.append(f"s3://{BUCKET}/{key}")
    return replace(setup, inputs=(), config={**setup.config, "inputs": inputs}, store=store, endpoint=endpoint)


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its return code (None: it did not end in time), what it said, the faults in it."""

    code: int | None
    output: str
    fired: list[Fault]
    seconds: float

    @property
    def problems(self) -> list[str]:
        """What is wrong with the way it ended."""
        return self.problems_beside(())

    def problems_beside(self, spoilt: Sequence[str]) -> list[str]:
        """The same where a thing was spoilt before it began, of whose names a refusal has one."""
        endings = [fault for fault in self.fired if fault.ends_command]
        allowed = frozenset[int]().union(*(fault.codes for fault in endings)) if endings else frozenset({0})
        allowed |= REFUSED if spoilt else frozenset()
        found = []
        if self.code not in allowed:
            found.append(f"return code {self.code}, not {' or '.join(map(str, sorted(allowed)))}")
        if "Traceback" in self.output:
            found.append("a traceback")
        if self.code in REFUSED:
            names = [fault.named for fault in endings if fault.named]
            if ERROR not in self.output:
                found.append("no word of why it ended")
            elif (names or not endings) and not self.tells([*names, *spoilt]):
                found.append(f"no word of {' or '.join([*names, *spoilt])}")
        return found

    def tells(self, names: Sequence[str]) -> bool:
        """Whether its error has one of the names."""
        said = "".join(self.output.rpartition(ERROR)[2].split())
        return any("".join(name.split()) in said for name in names)


def run_command(
    setup: Setup,
    name: str,
    plan: CommandPlan,
    *,
    folder: Path,
    more: Sequence[str] = (),
    timeout_s: float = COMMAND_TIMEOUT_S,
    engine: EngineName = "ray",
) -> Ended:
    """`encore-ray run` as a person starts it, with the faults of the plan; inputs that went away come back after it.

    Args:
        setup: what the run is of.
        name: of the run.
        folder: a new one, for the plan and the output.
        more: further flags.
        timeout_s: seconds until it is killed as one that hangs.
        engine: that does its passes.
    """
    ended = _run_once(setup, name, plan, folder, more, timeout_s, engine)
    for _ in range(STARTS - 1):
        if RAY_IS_SLOW in ended.output:
            ended = _run_once(setup, name, plan, folder, more, timeout_s, engine)
    for fault in plan.faults:
        if fault.path and os.path.exists(away := f"{setup.folder / fault.path}.away"):
            os.rename(away, setup.folder / fault.path)
    return ended


def _run_once(
    setup: Setup,
    name: str,
    plan: CommandPlan,
    folder: Path,
    more: Sequence[str],
    timeout_s: float,
    engine: EngineName,
) -> Ended:
    started = time.monotonic()
    process, output = start_command(setup, name, plan, folder=folder, more=more, engine=engine)
    code: int | None
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - started
    text = output.read_text(errors="replace")
    return Ended(code if code is None else SIGNALLED.get(code, code), text, _fired(plan, folder, text), seconds)


def _fired(plan: CommandPlan, folder: Path, output: str) -> list[Fault]:
    """The faults that happened; Ray's limit is as low for a neighbour of nobody's plan, who may come before ours."""
    fired = plan.fired(folder)
    crowds = [fault for fault in plan.faults if fault.action == "crowd" and fault not in fired]
    return [*fired, *crowds] if OUT_OF_MEMORY in output else fired


def start_command(
    setup: Setup,
    name: str,
    plan: CommandPlan,
    *,
    folder: Path,
    more: Sequence[str] = (),
    engine: EngineName = "ray",
    where: Sequence[str] = (),
) -> tuple["subprocess.Popen[bytes]", Path]:
    """The command's process, in a group of its own as a terminal has it, and the file that takes its output.

    Args:
        setup, name, folder, more, engine: see `run_command`.
        where: words before the command, which lead it to another host.
    """
    armed = plan.write(folder, setup.run(name), files=setup.folder)
    on_ray = {"ENCORE_RAY_CLUSTER_ENGINE": engine, "RAY_TMPDIR": str(ray_folder())}
    environment = {**os.environ, **setup.environment, **armed, **on_ray}
    output = folder / "output"
    with output.open("wb") as handle:  # not a pipe: Ray's processes outlive a killed driver, and would keep it open
        process = subprocess.Popen(
            [*where, sys.executable, "-m", "encore_ray.cli", "run", str(setup.job(name)), *more],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    return process, output


_ray_folders: list[Path] = []


def ray_folder() -> Path:
    """Where Ray keeps its sockets and logs: a short path, swept by `fresh_ray_folder`."""
    if not _ray_folders:
        _ray_folders.append(Path(tempfile.mkdtemp(prefix="f", dir="/tmp")))
    return _ray_folders[0]


@contextlib.contextmanager
def fresh_ray_folder() -> Iterator[None]:
    """Delete at the end what the Rays of all commands in the block wrote."""
    _ray_folders.clear()
    folder = ray_folder()
    try:
        yield
    finally:
        _ray_folders.clear()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Reference:
    """The undisturbed run: what every disturbed one must come to, and the steps that it took."""

    run: Path
    steps: Steps
    contents: dict[str, str]
    ids: dict[str, list[str]]


def make_reference(setup: Setup, *, timeout_s: float = COMMAND_TIMEOUT_S) -> Reference:
    """Run the job without faults, and note its steps."""
    folder = setup.folder / "undisturbed-faults"
    ended = run_command(setup, "undisturbed", CommandPlan(trace=True), folder=folder, timeout_s=timeout_s)
    assert ended.code == 0, ended.output
    run = setup.fetched("undisturbed")
    return Reference(run, Steps.of_trace(folder / "trace"), contents(run), {name: ids(run, name) for name in TABLES})


@dataclass
class Verdict:
    """How a run compares with the undisturbed one; nothing lost, doubled or wrong means that it survived.

    Attributes:
        silent: commands that ended well with other data than they say, which no reader is told of.
    """

    lost: int = 0
    doubled: int = 0
    silent: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        return not (self.lost or self.doubled or self.silent or self.problems)


def judge(run: Path, reference: Reference) -> Verdict:
    """Compare a finished run with the undisturbed one: ids, then every table and result, then what lies about."""
    verdict = Verdict()
    try:
        for name in TABLES:
            found = Counter(ids(run, name))
            verdict.lost += len(set(reference.ids[name]) - found.keys())
            verdict.doubled += sum(count - 1 for count in found.values())
        now = contents(run)
        verdict.problems += [f"{key} differs" for key, value in reference.contents.items() if now.get(key) != value]
        verdict.problems += litter(run)
    except (OSError, pa.ArrowException, EncoreError) as error:
        verdict.problems.append(f"cannot be read: {error}")
    return verdict


def ids(run: Path, name: str) -> list[str]:
    """Ids of all rows as any reader finds them in the folder, whatever the manifest says."""
    files = sorted((run / name / "data").glob("*.parquet"))
    return [value for file in files for value in pq.read_table(file, columns=[PAIR_ID]).column(0).to_pylist()]


def contents(run: Path) -> dict[str, str]:
    """Digests of every table with its order, of its quarantine, and of every result."""
    found = {}
    for name in TABLES:
        files = read_manifest(Folder(str(run / name)))
        for file in files:
            if content_digest((run / name / file.file).read_bytes()) != file.digest:
                raise DataError(f"{name}/{file.file} is damaged")
        found[name] = _digest([_rows(run / name / file.file) for file in files])  # units are called by where inputs lay
        found[f"quarantine of {name}"] = _digest(_quarantined(run, name))
    return found | {name: _sha256(run / name) for name in RESULTS}


def _rows(file: Path) -> str:
    """Digest of a file's table, whatever it says of where the model lay."""
    table = pq.read_table(file)
    metadata = {key: value for key, value in (table.schema.metadata or {}).items() if key != SOURCE}
    with pa.BufferOutputStream() as sink:
        with pa.ipc.new_stream(sink, table.schema.with_metadata(metadata)) as stream:
            stream.write_table(table.replace_schema_metadata(metadata).combine_chunks())
        return hashlib.sha256(sink.getvalue()).hexdigest()


def read_all(run: Path) -> str:
    """What a reader of every table and result is told that cannot have what it asks for; "" for one that has it all."""
    try:
        for name in TABLES:
            for unit in table_units(str(run / name)):
                unit.read_all()
        for artifact in (WeightsFile, Metrics, Comparison):
            artifact.read(Folder(str(run)))
    except EncoreError as error:
        return str(error)
    return ""


def litter(run: Path) -> list[str]:
    """What a finished run must not hold: files that nothing names, and temporary ones."""
    found = [f"{path.relative_to(run)} is left over" for path in run.rglob(".tmp-*")]
    for name in TABLES:
        named = {file.file for file in read_manifest(Folder(str(run / name)))}
        lying = {f"data/{path.name}" for path in (run / name / "data").iterdir()}
        found += [f"{name}/{file} is named by no commit" for file in sorted(lying - named)]
    return found


def _quarantined(run: Path, name: str) -> list[Any]:
    """Rows in the order of their units, with what tells their source wherever it lies."""
    sealed = read_seal(Folder(str(run / name))) or {}
    tables = [Folder(str(run / "quarantine")).read_table(file) for file in sealed["quarantine"]]
    rows = [row for table in tables for row in table.to_pylist()]
    return [(row["source"].split("/")[-2:], row["line"], row["reason"], row["raw"]) for row in rows]


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
