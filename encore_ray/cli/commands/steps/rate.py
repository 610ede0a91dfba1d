"""The command that makes scores of a language model's answers."""

from dataclasses import dataclass, field
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import (
    OptionalPathFlag,
    PathFlag,
    Switch,
    check_max_bad_fraction,
    default_bad_fraction,
    flag,
    section_flags,
)
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, RateOptions, ScoreOptions
from encore_ray.config.sources import read_rules, resolve_model
from encore_ray.console.ending import Ending
from encore_ray.rule_pools import rule_pool
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Rate all pairs of a run under rules by a judge: any causal language model, here or behind an API.

    Each rule is a question behind the conversation, which is computed once for all of them.

    Ratings are P(Yes) - P(No), or the expected level of a rule that has levels.

    They are the run's scores: `weigh`, `compose` and `compare` go on from them.

    Example: encore-ray rate --run runs/first --judge owner/model --rules rules.yaml
    """

    run: PathFlag
    """Run folder, after `prepare`."""
    judge: Annotated[str, flag("PATH_OR_HUB_ID_OR_URL")]
    """Folder or hub id of the language model; or URL of an OpenAI-compatible API, as in https://host/v1."""
    rules: OptionalPathFlag = None
    """rules.yaml. Default: the ten rules of `encore-ray rules`."""
    relevance: Switch = False
    """Also rate how much each rule matters to each prompt, from 0 to 1, for `select`. It goes to relevance/."""
    max_bad_fraction: float = field(default_factory=default_bad_fraction)
    """Share of pairs without finite ratings past which the pass fails."""
    overwrite: Switch = False
    """Start over where the judge, its rules or options have changed, instead of refusing."""
    options: Annotated[ScoreOptions, section_flags(ScoreOptions)]
    api: Annotated[RateOptions, section_flags(RateOptions)]
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.schema import PAIRS_DIR

        check_max_bad_fraction(self.max_bad_fraction)
        path = resolve_model(self.judge)
        from encore_ray.passes.scorers.api.connection import is_api

        folder = Folder(absolute(self.run))
        require_paths([folder.path(PAIRS_DIR), None if is_api(path) else path])
        from encore_ray.cli.command import open_command
        from encore_ray.console.scored import end_scored
        from encore_ray.folder.spec import SCORE
        from encore_ray.passes.score import Score
        from encore_ray.passes.scorers.api.judge import plan_api_judge
        from encore_ray.passes.scorers.by_api import rate_by_api
        from encore_ray.passes.scorers.by_model import score_by_model
        from encore_ray.passes.scorers.model.plan import plan_judge
        from encore_ray.passes.selection.relate import Relate, judge_of_relevance

        rules = read_rules(absolute(self.rules)) if self.rules else rule_pool()
        api = plan_api_judge(path, self.api, rules=rules, run=folder) if is_api(path) else None
        with open_command(
            folder.uri,
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            params={"judge": path},
        ) as run:
            if api is not None:
                scorer = rate_by_api(api)
            else:
                scorer = score_by_model(plan_judge(path, self.options, resources=run.resources_for(SCORE), rules=rules))
            scored = run.do(Score(scorer, self.max_bad_fraction))
            if self.relevance:
                run.do(Relate(judge_of_relevance(scorer), self.max_bad_fraction))
        return end_scored("rated", self.run, scored, console=console)
