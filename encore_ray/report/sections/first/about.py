"""What a run is of, by names a person knows: model, corpus, size, date, version."""

from collections.abc import Mapping
from typing import Any

from encore_ray.report.data.contents import ReportContents
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import count, plain, plural

_DATASETS = "hf://datasets/"
_MOST_INPUTS = 2


def about(contents: ReportContents) -> Markup | None:
    """One line below the headline; None where nothing is known."""
    parts = [*_scored_by(contents.config), *_corpus(contents.config), *_size(contents)]
    version = (contents.versions or {}).get("encore-ray")
    parts += [text for text in (contents.made_on, f"encore-ray {version}" if version else None) if text]
    if not parts:
        return None
    return tag("ul", [tag("li", part) for part in parts], class_="about")


def model_name(config: Mapping[str, Any] | None) -> str:
    """What scored the pairs: a hub id, the end of a path, or the ratings in the data; "" where no job tells."""
    found = config or {}
    for kind in ("model", "judge"):
        if isinstance(found.get(kind), str):
            return short_path(found[kind])
    return "ratings in the data" if found.get("inputs") else ""


def corpus_name(config: Mapping[str, Any] | None) -> str:
    """The inputs by the ends of their paths; "" where no job tells."""
    inputs = (config or {}).get("inputs")
    paths = [each.get("path") for each in inputs if isinstance(each, Mapping)] if isinstance(inputs, list) else []
    names = [short_path(path) for path in paths if isinstance(path, str)]
    more = f" and {len(names) - _MOST_INPUTS} more" if len(names) > _MOST_INPUTS else ""
    return f"{', '.join(names[:_MOST_INPUTS])}{more}"


def short_path(path: str) -> str:
    """A hub id as it is, of a dataset too; of another path or URL the last two parts."""
    if path.startswith(_DATASETS):
        return path.removeprefix(_DATASETS)
    return "/".join([part for part in path.split("/") if part][-2:])


def _scored_by(config: Mapping[str, Any] | None) -> list[Child]:
    name = model_name(config)
    return [["scored by ", tag("b", tag("bdi", name))]] if name else []


def _corpus(config: Mapping[str, Any] | None) -> list[Child]:
    name = corpus_name(config)
    return [["corpus ", tag("b", tag("bdi", name))]] if name else []


def _size(contents: ReportContents) -> list[Child]:
    """Pairs, single responses, rules."""
    comparison, weights = contents.comparison, contents.weights
    sizes: list[Child] = []
    if comparison:
        held = comparison.heldout.num_pairs
        sizes.append(f"{plural(comparison.num_pairs, 'pair')}{f', {count(held)} held out' if held else ''}")
    elif weights:
        sizes.append(plural(weights.num_pairs, "pair"))
        num_singles = weights.num_responses - 2 * weights.num_pairs
        sizes += [plural(num_singles, "single response")] if num_singles else []
    if weights:
        like = plain(weights.effective_num_rules, digits=1)
        sizes.append(f"{plural(len(weights.rules), 'rule')} that act like {like}")
    return sizes
