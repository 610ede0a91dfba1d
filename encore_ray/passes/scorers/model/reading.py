"""How a model of a job reads conversations: as its options say, told before anything is scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encore_ray.config import ScoreOptions
from encore_ray.errors import ConfigError
from encore_ray.folder.tables import TableUnit
from encore_ray.models.spec.conversation import Reading
from encore_ray.passes.scorers.outputs import TEXTS
from encore_ray.schema import CHOSEN, PAIR_ID, PROMPT, REJECTED
from encore_ray.storage import absolute, fingerprint

if TYPE_CHECKING:
    from encore_ray.models.loading.reading import ModelReading

_SUFFIXES = (".jinja", ".jinja2", ".j2")
_PREVIEWED = 128  # pairs of the first unit


def with_template(options: ScoreOptions) -> ScoreOptions:
    """The options with the text of a template's file in its name's place, so that workers need not see it.

    Raises:
        ConfigError: it cannot be read, or is of a form that there is not.
    """
    name = options.template
    if name == "pair":
        raise ConfigError(
            "score.template: pair (two segments, for encoders trained on question and answer) is not there yet. "
            "Expected chat, plain-v1, response-v1, the name of a template of the tokenizer's, or FILE.jinja."
        )
    if name is None or _is_source(name) or not name.endswith(_SUFFIXES):
        return options
    try:
        source = Path(absolute(name)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"score.template: cannot read {name}: {error}.") from None
    if not _is_source(source):
        raise ConfigError(f"score.template: {name} is no Jinja template: it has neither {{{{ nor {{%.")
    return options.model_copy(update={"template": source})


def reading_of(options: ScoreOptions) -> Reading:
    """How a model reads, of options `with_template`."""
    name = options.template
    if name is not None and _is_source(name):
        return Reading("file", name, options.system, options.clock)
    return Reading(name, None, options.system, options.clock)


def reading_facts(options: ScoreOptions) -> dict[str, Any]:
    """What of it decides scores beside the model's own files: nothing where all is left to these."""
    reading, usual = reading_of(options), Reading()
    facts: dict[str, Any] = {}
    if reading.template is not None:
        facts["template"] = fingerprint(reading.source) if reading.source is not None else reading.template
    facts |= {
        name: getattr(reading, name) for name in ("system", "clock") if getattr(reading, name) != getattr(usual, name)
    }
    return {"reading": facts} if facts else {}


def preview_notes(reading: "ModelReading", units: Sequence[TableUnit]) -> list[str]:
    """Sentences about what the template makes of the first pairs; none where it leaves all as it is."""
    table = units[0].read([PAIR_ID, *TEXTS]).slice(0, _PREVIEWED)
    columns: Mapping[str, list[Any]] = table.to_pydict()
    found = reading.preview(
        columns[PROMPT], chosen=columns[CHOSEN], rejected=columns[REJECTED], pair_ids=columns[PAIR_ID]
    )
    first = f"of the first {found.num_pairs:,} pairs"
    notes = []
    if found.refused:
        notes.append(f"the template refuses {found.refused:,} {first}: {found.why} (score.system, score.template)")
    if found.altered:
        notes.append(f"the template drops or changes text of {found.altered:,} {first}, as thoughts or spaces at ends")
    if found.made_equal:
        notes.append(f"the template makes both responses the same in {found.made_equal:,} {first}")
    return notes


def _is_source(template: str) -> bool:
    """Whether it is the text of a template, and no name."""
    return "{{" in template or "{%" in template
