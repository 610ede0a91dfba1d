"""The command that refines composed rewards by an energy over the model's embeddings."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro
from rich.console import Console

from encore_ray.cli.flags import Path, Switch, flag, section_flags
from encore_ray.cli.passes import open_command_job
from encore_ray.config import ClusterOptions
from encore_ray.errors import ConfigError
from encore_ray.schema import EMBEDDINGS_DIR, REWARDS_DIR, SCORES_DIR
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Refine:
    """Fit energies to rewards or scores (EBRM), or move each of them to where its energy is highest.

    Needs embeddings: score with --keep-embeddings, which a run that is scored already can add.

    fit writes refine/, with a report of what it buys next to the base reward and a plain refit.

    apply writes refined/, with a calibrated probability of each label.

    fit --per-rule takes the scores of each rule instead; apply then writes refined_scores/, too.
    """

    step: tyro.conf.Positional[Annotated[Literal["fit", "apply"], flag("STEP")]]
    """fit or apply."""
    run: Path
    """Run folder, after `compose`; with --per-rule after `score`."""
    per_rule: Switch = False
    """Of fit: an energy for each rule's scores, instead of one for the composed reward."""
    negatives: Annotated[int, flag("N")] = 768
    """Of fit: negatives for each response. Time grows with them."""
    sigma: float = 3.5
    """Of fit: spread of the negatives, in standard deviations of the reward."""
    beta: float = 0.1
    """Of fit: spread of the positive, as a share of sigma."""
    learning_rate: float = 9e-5
    """Of fit: of AdamW."""
    batch_responses: Annotated[int, flag("N")] = 256
    """Of fit: responses a step."""
    epochs: Annotated[int, flag("N")] = 5
    """Of fit: at most; two epochs without a lower held-out loss end it."""
    seed: int = 0
    """Of fit: weights, order, noise."""
    noise: Annotated[tyro.conf.UseAppendAction[list[float]], tyro.conf.arg(metavar="SHARE")] = field(
        default_factory=list
    )
    """Of fit: also report the controls with this share of the labels turned round. May be repeated."""
    cpus: Annotated[float | None, flag("N")] = None
    """Of fit: CPUs that its worker holds. Default: all of a node; 2 with a GPU."""
    gpus: Annotated[float | None, flag("N")] = None
    """Of fit: GPUs that its worker holds: 0, a share, or 1. Default: 1 where there are any."""
    overwrite: Switch = False
    """Start over where rewards, embeddings, energies or options have changed, instead of refusing."""
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        self._check()
        run = Folder(absolute(self.run))
        fitted_to = {"fit": [SCORES_DIR if self.per_rule else REWARDS_DIR], "apply": []}
        require_paths([run.path(name) for name in (*fitted_to[self.step], EMBEDDINGS_DIR)])
        from encore_ray.console.show import show_counts, show_refined_rules, show_refinement
        from encore_ray.models.spec.energy import EnergySettings

        if self.step == "apply":
            with open_command_job(self, console) as job:
                job.see()
                counts_by_folder = job.refine_apply()
            for folder, counts in counts_by_folder.items():
                console.print(f"{folder}/: ", end="", highlight=False)
                show_counts(counts, console=console)
            return
        settings = EnergySettings(
            sigma=self.sigma,
            beta=self.beta,
            num_negatives=self.negatives,
            learning_rate=self.learning_rate,
            batch_responses=self.batch_responses,
            epochs=self.epochs,
            seed=self.seed,
        )
        with open_command_job(self, console) as job:
            job.see()
            do = job.apart(cpus=self.cpus, gpus=self.gpus)
            if self.per_rule:
                report = job.refine_fit_rules(settings, do=do)
            else:
                report = job.refine_fit(settings, noise=self.noise, do=do)
            job.report()
        show = show_refined_rules if self.per_rule else show_refinement
        show(report, console=console)

    def _check(self) -> None:
        """Report all values that cannot be trained with."""
        wrong = [
            f"--{name.replace('_', '-')} must be above 0, found {getattr(self, name)}"
            for name in ("negatives", "sigma", "beta", "learning_rate", "epochs")
            if not getattr(self, name) > 0
        ]
        if self.batch_responses < 2:
            wrong.append(f"--batch-responses must be 2 or more, found {self.batch_responses}")
        if not 0 <= self.seed < 2**63:
            wrong.append(f"--seed must lie from 0 to 2^63 - 1, found {self.seed}")
        if self.cpus is not None and not self.cpus > 0:
            wrong.append(f"--cpus must be above 0, found {self.cpus}")
        if self.gpus is not None and not 0 <= self.gpus <= 1:
            wrong.append(f"--gpus must lie from 0 to 1, found {self.gpus}")
        wrong += [f"--noise must lie between 0 and .5, found {share}" for share in self.noise if not 0 < share < 0.5]
        if self.per_rule and (self.noise or self.step == "apply"):
            what = "--noise" if self.noise else "apply, which refines whatever energies are fitted to"
            wrong.append(f"--per-rule does not go with {what}")
        if wrong:
            raise ConfigError(f"refine: {'; '.join(wrong)}.")
