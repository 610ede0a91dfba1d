"""The files of a job that runs as they are: of a corpus a job.yaml, of a table of scores a chain.yaml, with rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from encore_ray.check.bad_rows import find_bad_rows
from encore_ray.check.sample import Sample, take_sample
from encore_ray.config import InputOptions, PrepareOptions, RateOptions, ScoreOptions
from encore_ray.config.sources import read_rules, resolve_model, section_defaults
from encore_ray.corpora.files.sources import list_files
from encore_ray.corpora.inputs import input_specs
from encore_ray.drafts.files import JOB_NAME, Draft, Names
from encore_ray.drafts.observed import observe
from encore_ray.drafts.rules import DraftedRules, draft_rules, draft_rules_of_heads, to_be_mapped
from encore_ray.drafts.scores import draft_chain, scores_of
from encore_ray.engine.local import this_machine
from encore_ray.errors import ConfigError
from encore_ray.files.plain_yaml import scalar_text
from encore_ray.passes.scorers.api.connection import is_api
from encore_ray.passes.scorers.api.reach import served_models
from encore_ray.passes.scorers.by_ratings import rated_rules
from encore_ray.rule_pools import rule_pool
from encore_ray.rules import RuleSet
from encore_ray.storage import absolute, require_paths


@dataclass(frozen=True)
class Wanted:
    """What a person names.

    Attributes:
        data: corpora, or a table of scores, by absolute paths or URLs.
        model, judge: who scores, as the options of a job.
        rules: path of a rules.yaml; None: drafted.
        run: run folder, absolute or a URL.
    """

    data: tuple[InputOptions, ...]
    model: str | None
    judge: str | None
    rules: str | None
    run: str


def draft(wanted: Wanted, names: Names) -> Draft:
    """Look at data and model, and draft the files that run them.

    Raises:
        ConfigError: a path is not there, or nobody is named who scores. DataError, ModelError: as of a run.
    """
    paths = [each.path for each in wanted.data]
    require_paths(path for path in paths if "*" not in path)
    is_corpus = any(each.columns for each in wanted.data)
    with scores_of([] if is_corpus else paths) as scores:
        if scores is not None and (wanted.model or wanted.judge):
            raise ConfigError(f"{paths[0]} is a table of scores: a model or judge has nothing left to score.")
        if scores is not None:
            return draft_chain(paths[0], scores, names, rules=wanted.rules)
    files = list_files(input_specs(wanted.data))
    options = section_defaults(PrepareOptions)
    sample = take_sample(files, options, rated=wanted.model is None and wanted.judge is None)
    bad = find_bad_rows(sample, options.max_bad_fraction)
    found = [_corpus_found(sample, len(files)), *([f"{bad}. Else a run ends by them"] if bad else [])]
    rules, lines = _scored_by(wanted, sample, found, names)
    guessed = []
    lines = [*_inputs(wanted.data, sample, names), *lines]
    name = names.job or JOB_NAME
    texts = {name: ""}
    if isinstance(rules, DraftedRules):
        lines.append(f"rules: {scalar_text(names.rules)}  # drafted, to be corrected")
        texts[names.rules], why = rules.text, rules.to_be_mapped
        guessed += rules.notes
    else:
        lines += [f"rules: {scalar_text(names.near(wanted.rules))}"] if wanted.rules else []
        why = to_be_mapped(rules)
    lines.append(f"run: {scalar_text(names.near(wanted.run))}  # everything the job makes")
    if why:
        lines += ["weigh:", f"  score_range: unit  # {why}: each is mapped to [0, 1]"]
        guessed.append(f"{why}, so each is mapped to [0, 1] (weigh.score_range: unit)")
    texts[name] = "\n".join(["# Drafted by `encore-ray init`; docs/configuration.md has all keys.", *lines]) + "\n"
    inputs = tuple(absolute(path) for path in (*paths, *([wanted.rules] if wanted.rules else [])))
    return Draft(texts, tuple(found), tuple(guessed), inputs=inputs, allowing=bad and bad.allowing)


def _scored_by(
    wanted: Wanted, sample: Sample, found: list[str], names: Names
) -> tuple[DraftedRules | RuleSet, list[str]]:
    """The rules to be drafted, or those that are there, and the lines that name who scores."""
    rated = rated_rules(sample.units)
    if rated and (wanted.model or wanted.judge):
        found.append(f"ratings of {len(rated)} rules in the data are not used, since a model or judge is named")
    if wanted.model is not None:
        return _by_model(wanted, found, names)
    if wanted.judge is not None:
        return _by_judge(wanted, found, names)
    if not rated:
        raise ConfigError(
            f"{found[0]}. It carries no ratings (chosen__<rule> columns), so somebody has to score it: name a reward "
            "model with --model, or a language model or an API that rates under each rule with --judge."
        )
    found.append(f"ratings of {len(rated)} rules: {', '.join(rated)}")
    if wanted.rules:
        return read_rules(wanted.rules), []
    assert sample.pairs is not None
    of = f"the ratings of {'all' if sample.is_whole else 'the first'} {sample.counts['rows']:,} rows"
    drafted = draft_rules(observe([sample.pairs], rated), of=of)
    return drafted, []


def _by_model(wanted: Wanted, found: list[str], names: Names) -> tuple[DraftedRules | RuleSet, list[str]]:
    from encore_ray.passes.scorers.model.plan import model_heads

    assert wanted.model is not None
    own, heads = model_heads(wanted.model, section_defaults(ScoreOptions))
    lines = [f"model: {scalar_text(names.near(wanted.model))}"]
    if own is not None and not wanted.rules:
        found.append(f"a model with its own rules.yaml of {len(own)} rules: {', '.join(own.names[:10])}")
        return own, lines
    found.append(f"a model with {len(heads)} heads: {', '.join(head.label for head in heads[:10])}")
    return read_rules(wanted.rules) if wanted.rules else draft_rules_of_heads(heads, of=wanted.model), lines


def _by_judge(wanted: Wanted, found: list[str], names: Names) -> tuple[DraftedRules | RuleSet, list[str]]:
    assert wanted.judge is not None
    lines = [f"judge: {scalar_text(names.near(wanted.judge))}"]
    if is_api(wanted.judge):
        options = section_defaults(RateOptions)
        name = options.model
        if name is None:
            served = served_models(wanted.judge, options)
            if len(served) != 1:
                raise ConfigError(
                    f"{wanted.judge} serves {', '.join(served[:10]) or 'models that it does not list'}: name the judge "
                    "by ENCORE_RAY_RATE_MODEL=..."
                )
            name = served[0]
            found.append(f"a judge that serves one model: {name}")
        lines += ["rate:", f"  model: {scalar_text(name)}"]
    pool = rule_pool()
    if not is_api(wanted.judge):
        from encore_ray.passes.scorers.model.plan import plan_judge

        options = section_defaults(ScoreOptions)
        judge = plan_judge(wanted.judge, options, resources=lambda known: this_machine(), rules=pool)
        found.append(f"a judge, digest {judge.facts['model'][:12]}, that would rate in {judge.facts['dtype']}")
    text = f"# Ten rules of ours to begin with: `encore-ray rules` has more.\n{pool.to_yaml()}"
    if wanted.rules:
        return read_rules(wanted.rules), lines
    return DraftedRules(pool, text, to_be_mapped(pool), (f"the judge rates under {len(pool)} rules of ours",)), lines


def _corpus_found(sample: Sample, num_files: int) -> str:
    counts = sample.counts
    layouts = ", ".join(dict.fromkeys(file.layout for file in sample.corpus.files if file.layout))
    rows = f"{'all' if sample.is_whole else 'the first'} {counts['rows']:,} rows"
    return (
        f"{num_files:,} file{'s' if num_files > 1 else ''} of layout {layouts}; {rows} make {counts['pairs']:,} pairs"
    )


def _inputs(data: Sequence[InputOptions], sample: Sample, names: Names) -> list[str]:
    layouts = ", ".join(dict.fromkeys(file.layout for file in sample.corpus.files if file.layout))
    read = sorted({name for split in sample.corpus.splits for name in split.reading.used})
    lines = [f"inputs:  # layout {layouts}, read from {', '.join(read)}"]
    for each in data:
        path = scalar_text(names.near(each.path))
        if each.columns is None:
            lines.append(f"  - {path}")
            continue
        columns = ", ".join(f"{place}: {scalar_text(column)}" for place, column in each.columns.items())
        lines += [f"  - path: {path}", f"    columns: {{{columns}}}"]
        lines += [] if each.chosen_if is None else [f"    chosen_if: {scalar_text(str(each.chosen_if))}"]
    return lines


def wanted_of(
    data: Sequence[InputOptions], *, model: str | None, judge: str | None, rules: str | None, run: str
) -> Wanted:
    """What a command line names, its paths taken from the current folder.

    Raises:
        ConfigError: model and judge are both named.
    """
    if model is not None and judge is not None:
        raise ConfigError("--model and --judge exclude each other: either makes the scores.")
    return Wanted(
        data=tuple(data),
        model=None if model is None else resolve_model(model),
        judge=None if judge is None else resolve_model(judge),
        rules=None if rules is None else absolute(rules),
        run=absolute(run),
    )
