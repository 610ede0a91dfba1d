"""Work trees of revisions, and the commands of encore-ray as a person runs them from one, with all that they start."""

import contextlib
import ctypes
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).parent.parent
PACKAGE = "encore_ray"
FOREIGN = ("ENCORE_RAY_", "MLFLOW_", "RAY_", "AWS_", "PYTHON", "OMP_", "COLUMNS")  # settings of whoever runs this
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "RAY_AUTH_MODE": "disabled",
    "RAY_metrics_report_interval_ms": "1000",
    "HF_HUB_OFFLINE": "1",
    "COLUMNS": "120",
}
COMMAND_TIMEOUT_S = 1800.0
ENDING_TIMEOUT_S = 60.0
STARTED = "Ray runtime started"  # as `ray start` says
_PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h


class CommandFailed(Exception):
    """A command that did not end as it should; its message has what it said."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its words, exit code, and what it said."""

    words: tuple[str, ...]
    code: int
    output: str
    errors: str

    def check(self, *codes: int) -> "Ended":
        """Itself; CommandFailed unless it ended with one of these exit codes (default: 0)."""
        if self.code not in (codes or (0,)):
            said = "\n".join((self.output + self.errors).splitlines()[-30:])
            raise CommandFailed(f"encore-ray {' '.join(self.words)}\nended with {self.code}:\n{said}")
        return self


@dataclass(frozen=True)
class Tree:
    """A work tree, whose encore_ray the commands run.

    Attributes:
        name: the revision or folder as it was asked for.
        path: of the work tree.
        ray: folder for Ray's sockets and logs; a short path.
    """

    name: str
    path: Path
    ray: Path

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Variables of a command: the caller's without settings of encore-ray and its libraries, and our own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return {**kept, **ENVIRONMENT, "PYTHONPATH": str(self.path), "RAY_TMPDIR": str(self.ray), **(more or {})}

    def start(
        self, *words: str, cwd: Path, log: Path, more: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start Python with these words, in a group of its own, as a terminal does.

        What it says goes to files (`log` and `log` with `.errors`), not to pipes: Ray's processes may outlive it.
        """
        with log.open("wb") as output, log.with_suffix(".errors").open("wb") as errors:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, *words],
                cwd=cwd,
                env=self.environment(more),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def python(self, *words: str, cwd: Path, more: Mapping[str, str] | None = None) -> Ended:
        """Run Python with these words to its end."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "output")
            process = self.start(*words, cwd=cwd, log=log, more=more)
            try:
                code = process.wait(COMMAND_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise CommandFailed(f"python {' '.join(words)}\ndid not end in {COMMAND_TIMEOUT_S:.0f} s") from None
            finally:
                if process.poll() is None:
                    end_group(process, grace_s=0)
            return Ended(words, code, log.read_text(errors="replace"), log.with_suffix(".errors").read_text())

    def command(self, *words: str | Path, cwd: Path, more: Mapping[str, str] | None = None) -> Ended:
        """Run a command of encore-ray to its end."""
        ended = self.python("-m", f"{PACKAGE}.cli", *map(str, words), cwd=cwd, more=more)
        return Ended(tuple(map(str, words)), ended.code, ended.output, ended.errors)

    def commands(self, several: Sequence[Sequence[str]], *, cwd: Path) -> list[Ended]:
        """Run many short commands, each in a process of its own that begins with the command line's imports done."""
        with tempfile.TemporaryDirectory() as folder:
            lines = Path(folder, "lines.json")
            lines.write_text(json.dumps([list(words) for words in several]))
            self.python("-c", _FORKING, str(lines), folder, cwd=cwd).check()
            ended = []
            for number, words in enumerate(several):
                output, errors, code = (Path(folder, f"{number}.{part}") for part in ("out", "err", "code"))
                texts = (output.read_text(errors="replace"), errors.read_text(errors="replace"))
                ended.append(Ended(tuple(words), int(code.read_text()), *texts))
            return ended

    def check(self) -> None:
        """CommandFailed where another encore_ray than that of the tree would run."""
        found = self.python("-c", f"import {PACKAGE}; print({PACKAGE}.__file__)", cwd=self.path).check().output.strip()
        if Path(found).resolve() != (self.path / PACKAGE / "__init__.py").resolve():
            raise CommandFailed(f"{self.name}: Python takes {found}, not {self.path / PACKAGE}.")


_FORKING = f"""
import json, os, runpy, sys
import {PACKAGE}.cli
for number, words in enumerate(json.load(open(sys.argv[1]))):
    place = os.path.join(sys.argv[2], str(number))
    child = os.fork()
    if not child:
        for descriptor, part in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{{place}}.{{part}}", os.O_CREAT | os.O_WRONLY), descriptor)
        sys.argv = ["encore-ray", *words]
        runpy.run_module("{PACKAGE}.cli", run_name="__main__")
    _, status = os.waitpid(child, 0)
    with open(f"{{place}}.code", "w") as code:
        code.write(str(os.waitstatus_to_exitcode(status)))
"""


@contextlib.contextmanager
def work_tree(revision: str, folder: Path) -> Iterator[Path]:
    """A folder with encore_ray as it is; or a revision, checked out into `folder` for the duration of the block."""
    if Path(revision, PACKAGE).is_dir():
        yield Path(revision).resolve()
        return
    _git("worktree", "add", "--detach", str(folder), revision)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _git(*words: str) -> None:
    command = ["git", "-C", str(REPOSITORY), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"git {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def scratch_folder(keep: Path | None = None) -> Iterator[Path]:
    """A temporary folder with a short path, as Ray's sockets need; or an empty folder to keep."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            sys.exit(f"{keep} is not empty.")
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="er", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep_track() -> None:
    """Become the parent of every descendant whose own parent ends, as Ray's processes do, so that none gets lost.

    SIGTERM, as of `timeout`, then ends this process as an exit does, so that nothing is left running or lying about.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end_group(process: "subprocess.Popen[bytes]", *, grace_s: float = ENDING_TIMEOUT_S) -> None:
    """Kill a command's process group at once, and wait until all that it had started has ended, too.

    Args:
        grace_s: seconds that those in other groups have to notice it by themselves, before they are killed as well.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _end(started, grace_s=grace_s)


def end_descendants() -> None:
    """End whatever earlier commands have left running."""
    _end(psutil.Process().children(recursive=True), grace_s=10)


def _end(processes: list[psutil.Process], *, grace_s: float) -> None:
    _, alive = psutil.wait_procs(processes, timeout=grace_s)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=ENDING_TIMEOUT_S)


@dataclass(frozen=True)
class Head:
    """A Ray of one node: its address, and the port at which Prometheus reads."""

    address: str
    metrics_port: int


@contextlib.contextmanager
def ray_head(tree: Tree) -> Iterator[Head]:
    """A Ray for several commands of a tree, whose workers find the tree's encore_ray."""
    gcs, metrics, agent, client, dashboard = _ports()
    words = (
        f"start --head --block --num-cpus=2 --include-log-monitor=false --disable-usage-stats --temp-dir={tree.ray} "
        f"--node-ip-address=127.0.0.1 --port={gcs} --metrics-export-port={metrics} --ray-client-server-port={client} "
        f"--dashboard-agent-listen-port={agent} --dashboard-port={dashboard} --include-dashboard=false"
    )
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "head")
        code = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
        process = tree.start("-c", code, *words.split(), cwd=tree.path, log=log, more={"PYTHONUNBUFFERED": "1"})
        try:
            wait_until(lambda: process.poll() is not None or STARTED in log.read_text(), what="a Ray head")
            if process.poll() is not None:
                raise CommandFailed(f"ray start ended: {log.read_text()}{log.with_suffix('.errors').read_text()}")
            yield Head(f"127.0.0.1:{gcs}", metrics)
        finally:
            end_group(process, grace_s=0)


def wait_until(is_so: Callable[[], bool], *, what: str, timeout_s: float = 600.0, every_s: float = 0.1) -> None:
    """Return once something is so; CommandFailed when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise CommandFailed(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(every_s)


@functools.cache
def _ports() -> list[int]:
    """Five free ports; the same for each head, since a run folder records its address."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(5)]
        return [one.getsockname()[1] for one in sockets]
