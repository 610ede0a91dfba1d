"""The export command: what trainers read."""

import importlib.util
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from encore_ray.cli.flags import OptionalPathFlag, PathFlag, Switch, flag
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config.sources import resolve_model
from encore_ray.console.ending import Ending, NextStep, next_step
from encore_ray.errors import ConfigError
from encore_ray.shell import command, near
from encore_ray.storage import Folder, absolute, require_paths

if TYPE_CHECKING:
    from encore_ray.passes.export.rewards import ExportReport
    from encore_ray.passes.export.selection import LabelledReport


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write composed rewards as a dataset that trainers read, or their weights and heads as one model.

    Or write pairs in the direction that their selected rules give them.

    Example: encore-ray export --run runs/first --format trl --output data/trl
    """

    run: PathFlag
    """Run folder, after `compose`; for the labels of a selection, after `select`."""
    output: OptionalPathFlag = None
    """Folder for a dataset."""
    format: Literal[
        "trl", "openrlhf", "llamafactory", "nemo-rl", "axolotl", "ms-swift", "verl", "jsonl", "parquet", "datasets"
    ] = "trl"
    """The trainer that will read the dataset; or a plain table: JSON Lines, Parquet, or a folder for
    datasets.load_from_disk."""
    margin: Annotated[str, flag("none|as-loss|NAME")] = "none"
    """Where margins go in the dataset: nowhere; as-loss: to the column margin, which TRL, OpenRLHF and ms-swift
    subtract in their loss; or to a column of another name."""
    carry: Annotated[tyro.conf.UseAppendAction[list[str]], flag("COLUMN|all")] = field(default_factory=list)
    """A further column of the dataset: pair_id, subset, chosen_reward, one that the corpus brought; or all of them.
    Default: all in a plain table, none for a trainer."""
    labels: Annotated[Literal["corpus", "selection"], flag()] = "corpus"
    """Which response of a dataset's pairs is the chosen one: the corpus's, or the one that the selected rules prefer.
    Ties are left out. All are counted."""
    on_negative_margin: Literal["keep", "drop", "swap"] = "keep"
    """What to do in the dataset with pairs whose rejected response has the higher reward, or wins by a veto. They are
    counted."""
    min_confidence: Annotated[float | None, flag("P")] = None
    """Leave out pairs whose label is less probable, by `refine apply`. They are counted."""
    as_model: Annotated[str | None, flag("DIR")] = None
    """Folder for one single-label sequence-classification checkpoint instead: weights, directions and linear heads
    folded together, with the margins of the composed rewards."""
    model: Annotated[str | None, flag("PATH_OR_HUB_ID")] = None
    """Of --as-model: where the model is now that the pairs were scored with. Default: where it was then."""
    allow_pickle: Switch = False
    """Of --as-model: read weights stored as pickles, which can run code."""
    overwrite: Switch = False
    """Replace a dataset or model that is there already."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        from encore_ray.schema import REWARDS_DIR, SELECTION_DIR

        if (self.output is None) == (self.as_model is None):
            raise ConfigError("export needs either --output, for a dataset, or --as-model, for a model.")
        run = Folder(absolute(self.run))
        by_selection = self.labels == "selection"
        if by_selection and (self.as_model or self.on_negative_margin != "keep" or self.min_confidence is not None):
            raise ConfigError(
                "--labels selection excludes --as-model, --on-negative-margin and --min-confidence: they go by rewards."
            )
        require_paths([run.path(SELECTION_DIR if by_selection else REWARDS_DIR)])
        return self._model(run) if self.output is None else self._dataset(run)

    def _dataset(self, run: Folder) -> Ending:
        if self.labels == "selection":
            from encore_ray.passes.export.selection import export_selection

            output = Folder(absolute(self.output or ""))
            report = export_selection(
                run,
                output,
                layout=self.format,
                margin=self.margin,
                carry=self.carry or None,
                overwrite=self.overwrite,
            )
            return self._written(report)
        from encore_ray.passes.export.rewards import export_rewards

        report = export_rewards(
            run,
            Folder(absolute(self.output or "")),
            layout=self.format,
            on_negative_margin=self.on_negative_margin,
            margin=self.margin,
            min_confidence=self.min_confidence,
            carry=self.carry or None,
            overwrite=self.overwrite,
        )
        return self._written(report)

    def _written(self, report: "ExportReport | LabelledReport") -> Ending:
        return Ending(
            str(report),
            [_look_at_dataset(near(report.path)), next_step("see what became of the pairs", "inspect", self.run)],
            vars(report),
        )

    def _model(self, run: Folder) -> Ending:
        from encore_ray.passes.export.model import export_model

        folded = export_model(
            run,
            absolute(self.as_model or ""),
            model=resolve_model(self.model) if self.model else None,
            allow_pickle=self.allow_pickle,
            overwrite=self.overwrite,
        )
        model = absolute(self.as_model or "")
        load = "from transformers import AutoModelForSequenceClassification as M; print(M.from_pretrained({}))"
        return Ending(
            str(folded),
            [NextStep("see that it loads", command("python", "-c", load.format(_quoted(near(model)))))],
            {"model": model, "said": str(folded)},
        )


def _look_at_dataset(path: str) -> NextStep:
    """As a trainer will read it, where what trainers read by is installed."""
    if importlib.util.find_spec("datasets") is None:
        return next_step("look at it", "inspect", path)
    named = f"{_quoted('parquet' if path.endswith('.parquet') else 'json')}, data_files={_quoted(path)}"
    load = f"load_dataset({named})" if path.endswith((".parquet", ".jsonl")) else f"load_from_disk({_quoted(path)})"
    name = load.partition("(")[0]
    return NextStep("see that it loads", command("python", "-c", f"from datasets import {name}; print({load})"))


def _quoted(text: str) -> str:
    """As Python and a shell's single quotes both take it."""
    return json.dumps(text, ensure_ascii=False)
