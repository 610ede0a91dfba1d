"""The passes of a run: what each writes, and from what. Everything that anyone else may ask of a pass stands here.

Status, sweeping, what becomes outdated, `inspect`, the report, MLflow and Prometheus follow from `PASSES`: a new pass
is one module, one row here, its command and its section of the report.
"""

from dataclasses import dataclass

from encore_ray.models.spec.files import FIT_FILE, TRAIN_FILE
from encore_ray.schema import (
    COMPARISON_FILE,
    EMBEDDINGS_DIR,
    ENERGY_TRAINING_DIR,
    FACTS_DIR,
    FEATURES_DIR,
    LABEL_ERRORS_FILE,
    METRICS_FILE,
    PAIRS_DIR,
    REFINE_REPORT_FILE,
    REFINED_DIR,
    REFINED_SCORES_DIR,
    RELEVANCE_DIR,
    RELIABILITY_FILE,
    REPORT_FILE,
    REPORT_TABLES_DIR,
    REWARDS_DIR,
    ROBUSTNESS_FILE,
    RULE_ENERGY_TRAINING_DIR,
    RULE_REFINE_REPORT_FILE,
    SCORES_DIR,
    SELECTION_DIR,
    SUCCESS_FILE,
    WEIGHTS_FILE,
)


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        name: in `status`, MLflow, Prometheus, plan.json and quarantine/.
        table: folder of the run that it writes, None for a pass that writes files alone.
        files: of the run that it writes, beside its table; they go when what they are made from changes.
        reads: names of the passes that it is made from.
        training: folder in which a fit that has not ended says how far it is; None for a pass without.
        command: how a person asks for it, where that is another word than its name; with the flag that adds it.
        in_job: whether every job has it: `status` then shows it before it has begun, too.
        folders: further ones of the run that it writes to.
        beside_model: files that tell how it went, of a pass that makes a model, in the folder of that.
    """

    name: str
    table: str | None = None
    files: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    training: str | None = None
    command: str = ""
    in_job: bool = False
    folders: tuple[str, ...] = ()
    beside_model: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.command or self.name

    @property
    def driver_folders(self) -> tuple[str, ...]:
        """Folders of the run that hold files of its driver."""
        own = (self.table,) if self.table else ()
        return (*own, *(name.rpartition("/")[0] for name in self.files), *self.folders)

    @property
    def end_files(self) -> tuple[str, ...]:
        """Files of the run without which it has not ended: what is deleted when it is outdated."""
        return (*((f"{self.table}/{SUCCESS_FILE}",) if self.table else ()), *self.files)


PREPARE = Pass("prepare", table=PAIRS_DIR, in_job=True)
SCORE = Pass("score", table=SCORES_DIR, reads=("prepare",), in_job=True)
WEIGH = Pass("weigh", files=(WEIGHTS_FILE,), reads=("score",), in_job=True)
COMPOSE = Pass("compose", table=REWARDS_DIR, reads=("prepare", "score", "weigh"), in_job=True)
EVALUATE = Pass("evaluate", files=(METRICS_FILE,), reads=("compose",), in_job=True)
COMPARE = Pass("compare", files=(COMPARISON_FILE,), reads=("score",), in_job=True)
REPORT = Pass("report", files=(REPORT_FILE,), reads=("evaluate",), command="evaluate", folders=(REPORT_TABLES_DIR,))
FEATURES = Pass("features", table=FEATURES_DIR, reads=("prepare",), command="fit-heads")
FIT_HEADS = Pass("fit", reads=("features",), command="fit-heads", beside_model=(FIT_FILE,))
TRAIN = Pass("train", reads=("prepare",), beside_model=(TRAIN_FILE,))
RELEVANCE = Pass("relevance", table=RELEVANCE_DIR, reads=("prepare",), command="rate --relevance")
SELECT = Pass("select", table=SELECTION_DIR, reads=("score", "relevance"))
EMBED = Pass("embed", table=EMBEDDINGS_DIR, reads=("prepare",), command="score --keep-embeddings")
FIT_REWARD = Pass(
    "refine fit",
    files=(REFINE_REPORT_FILE, ROBUSTNESS_FILE, RELIABILITY_FILE),
    reads=("compose", "embed"),
    training=ENERGY_TRAINING_DIR,
)
FIT_RULES = Pass(
    "refine fit rules",
    files=(RULE_REFINE_REPORT_FILE,),
    reads=("score", "embed"),
    training=RULE_ENERGY_TRAINING_DIR,
    command="refine fit --per-rule",
)
REFINE = Pass("refine", table=REFINED_DIR, files=(LABEL_ERRORS_FILE,), reads=("refine fit",), command="refine apply")
REFINE_SCORES = Pass("refine_scores", table=REFINED_SCORES_DIR, reads=("refine fit rules",), command="refine apply")

PASSES: tuple[Pass, ...] = (
    *(PREPARE, SCORE, WEIGH, COMPOSE, EVALUATE, COMPARE, REPORT),
    *(FIT_REWARD, FIT_RULES, FEATURES, FIT_HEADS, TRAIN, RELEVANCE, SELECT, EMBED, REFINE, REFINE_SCORES),
)


def find_pass(name: str) -> Pass:
    """The pass of that name."""
    return next(one for one in PASSES if one.name == name)


def writer_of(table: str) -> str:
    """How a message names what writes a table of that path: the command, where it lies where a run has it."""
    name = table.rstrip("/").rpartition("/")[2]
    found = next((one for one in PASSES if one.table == name), None)
    return "the pass that writes it" if found is None else f"`encore-ray {found.label}`"


def downstream(name: str) -> list[Pass]:
    """All passes that are made from what this one writes, directly or by way of others, in their order."""
    reached, before = {name}, 0
    while len(reached) > before:
        before = len(reached)
        reached |= {one.name for one in PASSES if reached.intersection(one.reads)}
    return [one for one in PASSES if one.name in reached - {name}]


def outdated_by(name: str) -> tuple[str, ...]:
    """Files of a run that are another's once this pass changes: its own further files, and what is made from it."""
    return (*find_pass(name).files, *(file for one in downstream(name) for file in one.end_files))


def driver_folders() -> tuple[str, ...]:
    """Folders of a run in which only the driver writes: a killed one may leave temporary files there."""
    found = [folder for one in PASSES for folder in one.driver_folders]
    return tuple(dict.fromkeys(["", FACTS_DIR, *found]))
