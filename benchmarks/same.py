"""Whether two revisions of encore-ray do the same, to the last byte: what a refactor must show.

python benchmarks/same.py main HEAD --json same.json

Either revision may also be a folder, as `.` for what is not committed yet. Both run the same commands, each in a
process of its own from its own work tree, on the same inputs and at the same paths:

- help: the help of every command, the messages of mistakes, and the names of the Python package.
- tracked: a job with rows that cannot be used, tracked in MLflow on sqlite; its model folded; the metrics that
  Prometheus reads while it runs.
- chain: jobs/chain.yaml on tiny models; then embeddings, refinement of rewards and of rules, further trainings, heads,
  selections, exports, schemes and every layout of data, tracked.
- rated: a job on ratings without a model, run twice; each pass over a table made elsewhere, by explicit paths.
- api: a judge behind an API, and what it finds relevant.
- resume: jobs whose driver is killed amid the scoring, resumed by the same revision, and by the other one, which must
  leave every committed unit as it stands.
- demo: `encore-ray demo` with few pairs.

Compared are tables by the digests of their files and columns, plans, commits, weights, metrics, reports, models,
whatever else lies in a run folder, and what the commands say; what differs between two runs of one revision is left
out, with the reason, by the lists in same_texts.py. A table has a line for each thing; diffs follow. Something that is
meant to differ is named by --allow or in a file of such names, as "chain/runs/new/report/*". The exit code is 1 where
anything else differs, and 2 where a command of the first revision fails, so that there is nothing to compare with.
"""

import argparse
import contextlib
import functools
import hashlib
import http.server
import json
import math
import re
import shutil
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import yaml

from benchmarks.same_texts import Texts, Thing, compare_texts, folder_texts, normal, read_patterns
from benchmarks.tables import show, write_json
from benchmarks.trees import (
    CommandFailed,
    Ended,
    Head,
    Tree,
    end_descendants,
    end_group,
    keep_track,
    ray_head,
    scratch_folder,
    wait_until,
    work_tree,
)

DEMO_PAIRS = 512
UNIT_PAIRS = 8  # of the jobs that are killed: many units, of some hundredths of a second each
KILL_AFTER = 5  # units that are scored
FAILED = "how it ended"


@dataclass(frozen=True)
class Stage:
    """Where scenarios run.

    Attributes:
        trees: the two revisions.
        inputs: made once.
        run: folder of a scenario, the same for both.
        kept: what the runs leave, moved there.
    """

    trees: tuple[Tree, Tree]
    inputs: Path
    run: Path
    kept: Path

    @contextlib.contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """An empty folder at the path of all runs, moved aside at the end."""
        self.run.mkdir()
        try:
            yield self.run
        finally:
            self.kept.mkdir(exist_ok=True)
            self.run.rename(self.kept / name)


Scenario = Callable[[Stage], list[Thing]]


def under_both(name: str) -> Callable[[Callable[[Tree, Path, Path], Texts]], Scenario]:
    """A scenario of a function that runs commands of one tree in a folder, given also the folder of inputs."""

    def make(function: Callable[[Tree, Path, Path], Texts]) -> Scenario:
        @functools.wraps(function)
        def scenario(stage: Stage) -> list[Thing]:
            found: list[Texts] = []
            for number, tree in enumerate(stage.trees):
                with stage.folder(f"{name}-{number + 1}") as folder:
                    run = functools.partial(function, tree, folder, stage.inputs)
                    found.append(_texts_or_failure(run, is_first=not number))
                end_descendants()
            return _compared(name, *found)

        return scenario

    return make


def _texts_or_failure(run: Callable[[], Texts], *, is_first: bool) -> Texts:
    """What a revision leaves; of the second, also that it failed where the first did not."""
    try:
        return {FAILED: "well", **run()}
    except Exception as failure:
        if is_first:
            raise
        return {FAILED: str(failure) if isinstance(failure, CommandFailed) else traceback.format_exc()}


def _compared(scenario: str, before: Texts, after: Texts) -> list[Thing]:
    """All things of a scenario; only how it ended, where there is nothing else to compare."""
    if before[FAILED] == after[FAILED]:
        return compare_texts(scenario, before, after)
    what = f"{FAILED} ({len(before) - 1} things not compared)"
    return [Thing(scenario, what, before[FAILED], after[FAILED])]


def said(ended: Ended, what: str) -> Texts:
    """What a command said, and its exit code."""
    text = f"exit code {ended.code}\n{ended.output}\n--- errors\n{ended.errors}"
    name = f"said: {what}"
    return {name: normal(name, text)}


MISTAKES: dict[str, tuple[str, ...]] = {
    "no command": (),
    "an unknown command": ("scale",),
    "an unknown flag": ("weigh", "--run", "nowhere", "--heat", "2"),
    "a wrong value": ("weigh", "--run", "nowhere", "--scheme", "fair"),
    "no file": ("run", "nowhere.yaml"),
    "several mistakes in a job": ("run", "wrong.yaml"),
    "an input that is not there": ("run", "absent.yaml"),
    "no scores": ("weigh", "--run", "nowhere"),
    "neither run nor paths": ("compose",),
    "run and paths": ("evaluate", "--run", "nowhere", "--rewards", "nowhere", "--output", "nowhere"),
    "a chain with a wrong step": ("chain", "wrong-chain.yaml"),
    "a table of no kind": ("inspect", "wrong.yaml"),
    "no run": ("status", "nowhere"),
    "too few numbers": ("refine", "fit", "--run", "nowhere", "--negatives", "0", "--noise", "2"),
}
NAMES_OF_PACKAGE = """
import inspect, encore_ray
for name in sorted(encore_ray.__all__):
    thing = getattr(encore_ray, name)
    try:
        of = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        of = []
    print(name, *(p.replace(annotation=p.empty) for p in of))
    print(inspect.getdoc(thing))
    if inspect.isclass(thing):
        print(*(member for member in dir(thing) if not member.startswith("_")))
"""


@under_both("help")
def help_texts(tree: Tree, folder: Path, inputs: Path) -> Texts:
    """Every help text, the messages of mistakes, the names of the package, and what dashboards ask for."""
    (folder / "wrong.yaml").write_text("inputs: [a.jsonl]\nrun: x\nprepare: {unit_pairs: many}\nweigh: {heat: 2}\n")
    (folder / "absent.yaml").write_text("inputs: [absent.jsonl]\nmodel: absent\nrun: x\n")
    (folder / "wrong-chain.yaml").write_text("steps:\n  - weigh: {run: x, temperature: 1}\n  - weigh: {heat: 2}\n")
    texts = said(tree.command("--help", cwd=folder).check(), "--help")
    listed = tree.python("-c", "from encore_ray.cli import COMMANDS; print(*COMMANDS)", cwd=folder).check().output
    lines = {f"{command} --help": (command, "--help") for command in listed.split()}
    lines |= {" ".join(words): words for words in (("--version",), ("rules",), ("rules", "all"))}
    lines |= {f"{what} (mistake)": words for what, words in MISTAKES.items()}
    for what, ended in zip(lines, tree.commands(list(lines.values()), cwd=folder), strict=True):
        texts |= said(ended, what)
    texts["names of the package"] = tree.python("-c", NAMES_OF_PACKAGE, cwd=folder).check().output
    for file in ("jobs/grafana.json", "jobs/example.yaml"):
        texts[file] = (tree.path / file).read_text()
    return texts


@under_both("tracked")
def tracked(tree: Tree, folder: Path, inputs: Path) -> Texts:
    """One job with MLflow on sqlite, and what Prometheus has of it."""
    job = {
        "inputs": [str(inputs / "corpus.jsonl")],
        "model": str(inputs / "models" / "heads"),
        "run": "runs/tracked",
        "prepare": {"unit_pairs": 32, "max_bad_fraction": 0.1},
        "score": {"keep_embeddings": True, "max_tokens": 110, "actors": "2"},
        "weigh": {"temperature": 0.5},
        "tracking": {"run_name": "tracked", "experiment": "same"},
    }
    file = _write_yaml(folder / "job.yaml", job)
    texts: Texts = {}
    with ray_head(tree) as head, watched_metrics(head) as seen:
        on_head = {"RAY_ADDRESS": head.address}
        texts |= said(tree.command("run", file, cwd=folder, more=on_head).check(), "run")
    texts["Prometheus"] = "\n".join(sorted(seen))
    for words in (
        ("status", "runs/tracked"),
        ("track", "runs/tracked"),
        ("export", "--run", "runs/tracked", "--as-model", "folded"),
        ("inspect", "folded"),
        ("inspect", "runs/tracked"),
    ):
        texts |= said(tree.command(*words, cwd=folder).check(), " ".join(words))
    return texts | folder_texts(folder)


@contextlib.contextmanager
def watched_metrics(head: Head) -> Iterator[set[str]]:
    """The names, kinds, descriptions and labels of our metrics, as far as they were read in the block."""
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            with contextlib.suppress(OSError):
                url = f"http://127.0.0.1:{head.metrics_port}/metrics"
                with urllib.request.urlopen(url, timeout=5) as answer:
                    seen.update(metric_lines(answer.read().decode()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def metric_lines(exported: str) -> Iterator[str]:
    """Our metrics in Prometheus' text format, without their values."""
    for line in exported.splitlines():
        if line.startswith(("# HELP ray_encore_ray_", "# TYPE ray_encore_ray_")):
            yield line
        elif match := re.fullmatch(r"(ray_encore_ray_\w+)\{(.*)\} \S+", line):
            yield f"{match[1]} {' '.join(sorted(re.findall(r'([A-Za-z_]+)=', match[2])))}"


CHAIN_OPTIONS = {
    "ENCORE_RAY_PREPARE_UNIT_PAIRS": "32",
    "ENCORE_RAY_SCORE_ACTORS": "1",
    "ENCORE_RAY_TRAIN_BATCH_ROWS": "16",
    "ENCORE_RAY_TRAIN_LEARNING_RATE": "1e-3",
}
REFINE = {"negatives": 8, "epochs": 2, "learning-rate": 0.003, "batch-responses": 32}
REWARDS = {"scores": "runs/new/refined_scores", "weights": "runs/refined/weights.json"}
FURTHER_STEPS: list[Any] = [
    {"prepare": {"input": "layouts", "run": "runs/layouts", "max-bad-fraction": 0.9}},
    {"score": {"run": "runs/new", "model": "models/heads", "keep-embeddings": True}},
    {"refine fit": {"run": "runs/new", **REFINE, "noise": [0.2]}},
    {"refine apply": {"run": "runs/new"}},
    {"refine fit": {"run": "runs/new", "per-rule": True, **REFINE}},
    {"refine apply": {"run": "runs/new"}},
    {"weigh": {"scores": REWARDS["scores"], "output": REWARDS["weights"], "scheme": "bradley_terry_simplex"}},
    {"compose": {**REWARDS, "output": "runs/refined/rewards"}},
    {"evaluate": {"rewards": "runs/refined/rewards", "output": "runs/refined"}},
    {"compare": {"run": "runs/new", "beside": {"refined": "runs/new/refined", "both": "runs/refined/rewards"}}},
    {
        "train": {
            "run": "runs/rated",
            "model": "models/base",
            "objective": "regression",
            "rules": "runs/rated/rules.yaml",
            "labels": "runs/rated/scores",
            "output": "models/regression",
        }
    },
    {
        "fit-heads": {
            "run": "runs/rated",
            "model": "models/base",
            "rules": "runs/rated/rules.yaml",
            "labels": "runs/rated/scores",
            "output": "models/heads-again",
        }
    },
    {"select": {"run": "runs/rated", "num-rules": 2, "by": "scores", "overwrite": True}},
    {"export": {"run": "runs/new", "output": "openrlhf", "format": "openrlhf", "on-negative-margin": "swap"}},
    {"export": {"run": "runs/new", "output": "llamafactory", "format": "llamafactory", "min-confidence": 0.4}},
    *(
        f"inspect {place}"
        for place in (
            "runs/new",
            "runs/new/scores",
            "runs/new/weights.json",
            "runs/new/comparison.json",
            "runs/new/refine/report.json",
            "runs/layouts/quarantine",
            "models/heads",
            "models/adapter",
            "runs/rated/rules.yaml",
        )
    ),
    "status runs/rated",
    "status runs/new",
]


@under_both("chain")
def chain(tree: Tree, folder: Path, inputs: Path) -> Texts:
    """The documented chain, then what it lacks; on one Ray, which spares a start for each step."""
    for name in ("pairs.jsonl", "new_pairs.jsonl", "rules.yaml"):
        shutil.copy(inputs / name, folder)
    for name in ("models", "layouts"):
        shutil.copytree(inputs / name, folder / name)
    shutil.rmtree(folder / "models" / "heads")
    shutil.copy(inputs / "chain.yaml", folder)
    further = _write_yaml(folder / "further.yaml", {"steps": FURTHER_STEPS})
    given = folder_texts(folder)
    tracking = {"ENCORE_RAY_TRACKING_RUN_NAME": "further", "ENCORE_RAY_TRACKING_EXPERIMENT": "same"}
    texts: Texts = {}
    with ray_head(tree) as head:
        options = {**CHAIN_OPTIONS, "RAY_ADDRESS": head.address}
        untracked = {**options, "ENCORE_RAY_TRACKING_ENABLED": "false"}
        texts |= said(tree.command("chain", "chain.yaml", cwd=folder, more=untracked).check(), "chain")
        texts |= said(tree.command("chain", further, cwd=folder, more={**options, **tracking}).check(), "further steps")
    made = {what: text for what, text in folder_texts(folder).items() if given.get(what) != text}
    return texts | made


def api(stage: Stage) -> list[Thing]:
    """Ratings and relevances of a judge behind an API, whose answers follow from what it is asked."""
    with judge_server() as url:

        @under_both("api")
        def rate(tree: Tree, folder: Path, inputs: Path) -> Texts:
            off = {"ENCORE_RAY_TRACKING_ENABLED": "false", "ENCORE_RAY_PREPARE_UNIT_PAIRS": "16"}
            prepare = ("prepare", "--input", inputs / "pairs.jsonl", "--run", "run")
            rate = ("rate", "--run", "run", "--judge", url, "--model", "judge", "--rules", inputs / "rules.yaml")
            texts = said(tree.command(*prepare, cwd=folder, more=off).check(), "prepare")
            texts |= said(tree.command(*rate, "--relevance", cwd=folder, more=off).check(), "rate --relevance")
            return texts | folder_texts(folder)

        return rate(stage)


@contextlib.contextmanager
def judge_server() -> Iterator[str]:
    """The URL of a judge that says Yes or No with probabilities that a hash of the question decides."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            yes = (1 + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()[0]) / 257
            top = [
                {"token": word, "logprob": math.log(p), "bytes": None} for word, p in (("Yes", yes), ("No", 1 - yes))
            ]
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": "Yes" if yes > 0.5 else "No"},
                "finish_reason": "stop",
                "logprobs": {"content": [{**top[0], "top_logprobs": top}]},
            }
            body = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name it overrides
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def resume(stage: Stage) -> list[Thing]:
    """Jobs that are killed amid the scoring, and go on under the same revision and under the other one."""
    names = ("first", "second")
    finished: dict[tuple[int, int], Texts] = {}
    things = []
    for begins, tree in enumerate(stage.trees):
        with stage.folder(f"resume-{names[begins]}-begun") as folder:

            def begin(tree: Tree = tree, folder: Path = folder) -> Texts:
                begin_and_kill(tree, folder, stage.inputs)
                return {}

            begun = _texts_or_failure(begin, is_first=begins == 0)[FAILED]
            standing = _standing(folder)
        things.append(Thing("resume", f"begun by the {names[begins]} and killed: {FAILED}", "well", begun))
        if begun != "well":
            return things
        for ends, other in enumerate(stage.trees):
            with stage.folder(f"resume-{names[begins]}-{names[ends]}") as folder:
                shutil.copytree(stage.kept / f"resume-{names[begins]}-begun", folder, dirs_exist_ok=True)

                def go_on(other: Tree = other, folder: Path = folder) -> Texts:
                    ended = other.command("run", "job.yaml", cwd=folder).check()
                    return said(ended, "the resumed run") | folder_texts(folder)

                finished[begins, ends] = _texts_or_failure(go_on, is_first=begins == ends == 0)
                now = _standing(folder)
            end_descendants()
            what = f"begun by the {names[begins]}, resumed by the {names[ends]}: {len(standing)} committed files"
            after = "\n".join(f"{name} {now.get(name, 'gone')}" for name in standing)
            things.append(Thing("resume", what, "\n".join(f"{name} {of}" for name, of in standing.items()), after))
    things += _compared("resume/killed", finished[0, 0], finished[1, 1])
    for begins, ends in ((0, 1), (1, 0)):
        what = f"resume/begun by the {names[begins]}, resumed by the {names[ends]}"
        things += _compared(what, finished[begins, begins], finished[begins, ends])
    return things


def begin_and_kill(tree: Tree, folder: Path, inputs: Path) -> None:
    """Start a job, and kill it and all that it started once some units are scored."""
    job = {
        "inputs": [str(inputs / "corpus.jsonl")],
        "model": str(inputs / "models" / "heads"),
        "run": "run",
        "prepare": {"unit_pairs": UNIT_PAIRS, "max_bad_fraction": 0.1},
        "score": {"actors": "1"},
        "tracking": {"enabled": False},
    }
    words = ("-m", "encore_ray.cli", "run", str(_write_yaml(folder / "job.yaml", job)))
    commits = folder / "run" / "scores" / "commits"
    log = folder.parent / "killed.log"
    process = tree.start(*words, cwd=folder, log=log)
    try:
        wait_until(
            lambda: process.poll() is not None or len(list(commits.glob("*.json"))) >= KILL_AFTER,
            what="scored units",
            every_s=0.005,
        )
    finally:
        is_running = process.poll() is None
        end_group(process)
    if not is_running or (commits.parent / "_SUCCESS").exists():
        raise CommandFailed(f"{tree.name} was not killed amid the scoring: {log.read_text()}")


def _standing(folder: Path) -> dict[str, str]:
    """Every committed file with its digest and the time of its last change, the commit records among them."""
    found = {}
    for record in sorted((folder / "run").glob("*/commits/*.json")):
        named = [record.parent.parent / data["file"] for data in json.loads(record.read_text())["data"]]
        for file in (record, *named):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()[:24]
            found[str(file.relative_to(folder))] = f"{digest} changed at {file.stat().st_mtime_ns}"
    return found


@under_both("rated")
def rated(tree: Tree, folder: Path, inputs: Path) -> Texts:
    """A job without a model; then each pass over a table of scores made elsewhere; on the Ray that a command starts."""
    job = {
        "inputs": [str(inputs / "rated" / "pairs.jsonl")],
        "rules": str(inputs / "rated" / "rules.yaml"),
        "run": "runs/rated",
        "prepare": {"unit_pairs": 64},
        "weigh": {"by_group": True, "score_range": "unit"},
    }
    table = ("--scores", inputs / "rated" / "scores.parquet", "--rules", inputs / "rated" / "rules.yaml")
    weights = ("--weights", "elsewhere/weights.json")
    texts: Texts = {}
    for name, words in {
        "run": ("run", _write_yaml(folder / "job.yaml", job)),
        "run again": ("run", "job.yaml"),
        "weigh": ("weigh", *table, "--output", "elsewhere/weights.json", "--score-range", "unit"),
        "compose": ("compose", *table, *weights, "--output", "elsewhere/rewards"),
        "evaluate": ("evaluate", "--rewards", "elsewhere/rewards", "--output", "elsewhere/evaluated"),
        "compare": ("compare", *table, "--output", "elsewhere/compared", "--score-range", "unit"),
    }.items():
        texts |= said(tree.command(*words, cwd=folder, more={"ENCORE_RAY_TRACKING_EXPERIMENT": "same"}).check(), name)
    refused = tree.command("run", "job.yaml", "--set", "weigh.temperature=1", cwd=folder).check(2)
    return texts | said(refused, "a resume that is refused") | folder_texts(folder)


@under_both("demo")
def demo(tree: Tree, folder: Path, inputs: Path) -> Texts:
    """The demo, with few pairs."""
    ended = tree.command("demo", "--folder", "demo", "--pairs", str(DEMO_PAIRS), cwd=folder).check()
    return said(ended, "demo") | folder_texts(folder)


SCENARIOS: dict[str, Scenario] = {
    "help": help_texts,
    "tracked": tracked,
    "rated": rated,
    "api": api,
    "resume": resume,
    "chain": chain,
    "demo": demo,
}


def _write_yaml(file: Path, content: Mapping[str, Any]) -> Path:
    file.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
    return file


def make_inputs(tree: Tree, folder: Path) -> None:
    """Corpora and tiny models, by the public names of the first revision, and its chain."""
    script = Path(__file__).parent / "tiny_inputs.py"
    tree.python(str(script), str(folder), cwd=folder.parent).check()
    shutil.copy(tree.path / "jobs" / "chain.yaml", folder)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="Revision, or folder with a work tree.")
    parser.add_argument("second", help="Revision or folder to compare with it.")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="SCENARIO")
    parser.add_argument("--allow", action="append", default=[], metavar="NAME", help="May differ: scenario/what, or *.")
    parser.add_argument("--expect", type=Path, metavar="FILE", help="Names that may differ, one a line; # says why.")
    parser.add_argument("--lines", type=int, default=20, help="Lines of each diff.")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="Keep all run folders in an empty folder.")
    parser.add_argument("--json", type=Path, help="Write what was compared to this file.")
    options = parser.parse_args(arguments)
    allowed = [*options.allow, *(read_patterns(options.expect) if options.expect else [])]
    things: list[Thing] = []
    seconds: dict[str, float] = {}
    failed: list[str] = []
    keep_track()
    with (
        scratch_folder(options.keep) as folder,
        work_tree(options.first, folder / "code-1") as first,
        work_tree(options.second, folder / "code-2") as second,
    ):
        trees = Tree(options.first, first, folder / "ray"), Tree(options.second, second, folder / "ray")
        stage = Stage(trees, folder / "inputs", folder / "run", folder / "kept")
        try:
            for tree in trees:
                tree.check()
            make_inputs(trees[0], stage.inputs)
            for name in options.only:
                clock = time.monotonic()
                try:
                    found = SCENARIOS[name](stage)
                except CommandFailed as failure:
                    found = []
                    failed.append(name)
                    print(f"{name} fails under {options.first}: {failure}", file=sys.stderr)
                things += found
                seconds[name] = time.monotonic() - clock
                differ = sum(not thing.is_equal for thing in found)
                print(f"{name}: {seconds[name]:.0f} s, {differ} of {len(found)} differ", file=sys.stderr, flush=True)
        except CommandFailed as failure:
            print(failure, file=sys.stderr)
            return 2
        finally:
            end_descendants()
            shutil.rmtree(folder / "ray", ignore_errors=True)
    code = report(things, seconds, allowed=allowed, options=options)
    return 2 if failed else code


def report(things: Sequence[Thing], seconds: Mapping[str, float], *, allowed: Sequence[str], options: Any) -> int:
    """Print the table and the diffs, write the JSON; the exit code."""
    words = {thing.name: _word(thing, allowed) for thing in things}
    show(
        ["scenario", "what", "lines", ""],
        [[thing.scenario, thing.what, f"{thing.num_lines:,}", words[thing.name]] for thing in things],
    )
    differing = [thing for thing in things if not thing.is_equal]
    for thing in differing:
        print(f"## {thing.name} {words[thing.name]}\n{thing.difference(num_lines=options.lines)}\n")
    count = {word: list(words.values()).count(word) for word in ("equal", "allowed", "differs")}
    print(
        f"{options.first} and {options.second}: {count['equal']} of {len(things)} things are equal, {count['differs']} "
        f"differ, {count['allowed']} differ as allowed; {sum(seconds.values()) / 60:.1f} minutes."
    )
    found = [
        {"scenario": thing.scenario, "what": thing.what, "is": words[thing.name]}
        | ({} if thing.is_equal else {"diff": thing.difference(num_lines=options.lines)})
        for thing in things
    ]
    record = {"first": options.first, "second": options.second, **count, "seconds": dict(seconds), "things": found}
    write_json(options.json, record)
    return 1 if count["differs"] else 0


def _word(thing: Thing, allowed: Sequence[str]) -> str:
    if thing.is_equal:
        return "equal"
    return "allowed" if thing.is_allowed(allowed) else "differs"


if __name__ == "__main__":
    sys.exit(main())
