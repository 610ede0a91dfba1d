"""How a model of a job reads conversations, as its options say; and what of that decides scores."""

from typing import Any

from encore_ray.config import ScoreOptions
from encore_ray.errors import ConfigError
from encore_ray.files.named import read_named
from encore_ray.models.spec.conversation import Reading
from encore_ray.storage import absolute, fingerprint

_SUFFIXES = (".jinja", ".jinja2", ".j2")


def with_template(options: ScoreOptions) -> ScoreOptions:
    """The options with the text of a template's file in its name's place, so that workers need not see it.

    Raises:
        ConfigError: it cannot be read, or is no template.
    """
    name = options.template
    if name is None or _is_source(name) or not name.endswith(_SUFFIXES):
        return options
    try:
        source = read_named(absolute(name), what="score.template").decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"score.template: {name} is not in UTF-8: {error}.") from None
    if not _is_source(source):
        raise ConfigError(f"score.template: {name} is no Jinja template: it has neither {{{{ nor {{%.")
    return options.model_copy(update={"template": source})


def reading_of(options: ScoreOptions) -> Reading:
    """How a model reads, of options `with_template`."""
    name = options.template
    name, source = ("file", name) if name is not None and _is_source(name) else (name, None)
    return Reading(name, source, options.system, options.clock, options.bos, options.ending)


def reading_facts(options: ScoreOptions) -> dict[str, Any]:
    """What of it decides scores beside the model's own files: nothing where all is left to these.

    Whether bos and ending decide any is a matter of the model, see `plan_readings`.
    """
    reading, usual = reading_of(options), Reading()
    facts: dict[str, Any] = {}
    if reading.template is not None:
        facts["template"] = fingerprint(reading.source) if reading.source is not None else reading.template
    facts |= {
        name: getattr(reading, name) for name in ("system", "clock") if getattr(reading, name) != getattr(usual, name)
    }
    return {"reading": facts} if facts else {}


def _is_source(template: str) -> bool:
    """Whether it is the text of a template, and no name."""
    return "{{" in template or "{%" in template
