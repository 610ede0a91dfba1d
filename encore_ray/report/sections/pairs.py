"""The pairs behind the numbers: those where the reward and the label are farthest apart, and likely label errors."""

from collections.abc import Mapping, Sequence

from encore_ray.artifacts import LabelErrors, Metrics
from encore_ray.artifacts.metrics import Example
from encore_ray.report.data.contents import ReportContents
from encore_ray.report.data.pairs import PairTexts, Turn
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.drawing.numbers import compact, percent, plural
from encore_ray.report.sections.parts import section
from encore_ray.visible import short

_MOST_LOSSES, _MOST_WINS, _MOST_ERRORS = 20, 10, 10
_MOST_PARTS = 3  # rules named on either side


def shown_pairs(metrics: Metrics | None, errors: LabelErrors | None) -> set[str]:
    """The pair_id of every pair that the section shows."""
    found = metrics.examples if metrics else None
    examples = (*found.losses[:_MOST_LOSSES], *found.wins[:_MOST_WINS]) if found else ()
    return {each.pair_id for each in (*examples, *(errors.pairs[:_MOST_ERRORS] if errors else ()))}


def pairs(contents: ReportContents) -> Markup | None:
    """Lists of pairs, each to be opened."""
    found = contents.metrics.examples if contents.metrics else None
    losses = found.losses[:_MOST_LOSSES] if found else []
    wins = found.wins[:_MOST_WINS] if found else []
    errors = contents.label_errors.pairs[:_MOST_ERRORS] if contents.label_errors else []
    lists = [
        _list("Against the label (largest losses)", [_of_margin(each, contents.examples) for each in losses]),
        _list(
            "Improbable labels (likely label errors)",
            [
                _pair(f"{percent(each.label_probability, digits=2)} probable", None, each.pair_id, contents.examples)
                for each in errors
            ],
        ),
        _list("With the label (largest margins)", [_of_margin(each, contents.examples) for each in wins]),
    ]
    if not any(lists):
        return None
    takeaway = (
        "Where the reward is most sure and the label says otherwise: mistakes of the reward, or labels that are wrong."
    )
    if not contents.examples:
        takeaway += " No texts stand beside these rewards: the pairs are named."
    return section("pairs", "The pairs behind the numbers", takeaway, lists)


def _list(title: str, drawn: Sequence[Markup]) -> Markup | None:
    return tag("div", tag("h3", f"{title}, {plural(len(drawn), 'pair')}"), drawn, class_="pairs") if drawn else None


def _of_margin(each: Example, texts: Mapping[str, PairTexts]) -> Markup:
    return _pair(f"margin {compact(each.margin)}", each.subset, each.pair_id, texts)


def _pair(said: str, subset: str | None, pair_id: str, texts: Mapping[str, PairTexts]) -> Markup:
    head = [tag("b", said), *([" ", tag("bdi", short(subset))] if subset else []), " ", tag("code", short(pair_id))]
    found = texts.get(pair_id)
    if found is None:
        return tag("p", head, class_="pair")
    left_out = f"{plural(found.left_out, 'earlier turn')} left out" if found.left_out else None
    return tag(
        "details",
        tag("summary", head),
        tag(
            "div",
            _side("prompt", found.prompt, left_out),
            tag(
                "div",
                _side("chosen by the label", found.chosen),
                _side("rejected", found.rejected) if found.rejected else None,
                class_="sides",
            ),
            _parts(found.parts),
        ),
        class_="pair",
    )


def _side(name: str, turns: Sequence[Turn], note: str | None = None) -> Markup:
    shown: list[Child] = [tag("small", note)] if note else []
    for turn in turns:
        cut = f" … {turn.num_chars:,} characters in all" if turn.num_chars > len(turn.text) else None
        text = tag("bdi", turn.text, dir="auto")
        shown.append(tag("p", tag("small", turn.role), text, tag("small", cut) if cut else None))
    return tag("div", tag("h4", name), shown, class_="side")


def _parts(parts: Mapping[str, float]) -> Markup | None:
    """The rules that speak most for either response: what they add to the margin."""
    ordered = sorted(parts.items(), key=lambda item: item[1])
    against = [item for item in ordered if item[1] < 0][:_MOST_PARTS]
    for_it = [item for item in reversed(ordered) if item[1] > 0][:_MOST_PARTS]
    if not against and not for_it:
        return None
    named = [("for the rejected one", against), ("for the chosen one", for_it)]
    return tag(
        "p",
        [
            [f"{words}: ", [tag("span", _part(*item), class_="chip plain", data_rule=item[0]) for item in items], " "]
            for words, items in named
            if items
        ],
        class_="parts",
    )


def _part(name: str, value: float) -> str:
    return f"{short(name)} {'+' if value > 0 else ''}{compact(value)}"
