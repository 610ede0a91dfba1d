"""The configuration's options as command line flags: each section once, with its help, defaults and checks."""

import inspect
from collections.abc import Collection
from typing import Annotated, Any, get_args, get_origin

import tyro

from encore_ray.config import PrepareOptions, Section
from encore_ray.config.sources import make_section, section_defaults
from encore_ray.errors import ConfigError


def hint(default: str) -> str:
    """What help says of a default: nothing of None and False, which mean that a flag is not given."""
    return "" if default in ("None", "False") else f"(default: {default})"


def flag(metavar: str | None = None) -> Any:
    """Marks a command's own flag, so that help shows it as it shows an option's."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint)


PathFlag = Annotated[str, flag("PATH")]
OptionalPathFlag = Annotated[str | None, flag("PATH")]
Switch = Annotated[bool, flag()]


def default_bad_fraction() -> float:
    """That of every pass over pairs, as the environment sets it: prepare.max_bad_fraction."""
    return section_defaults(PrepareOptions).max_bad_fraction


def check_max_bad_fraction(share: float) -> None:
    """Raise ConfigError where --max-bad-fraction is no share: a pass would look at it when all is done."""
    if not 0 <= share <= 1:
        raise ConfigError(f"--max-bad-fraction must lie from 0 to 1, found {share}.")


def section_flags(section: type[Section], *, without: Collection[str] = ()) -> Any:
    """Marks a field of a command as a section of the configuration: one flag an option, without a prefix.

    Options named in `without` make no sense for the command: they have no flag and keep the section's default. The
    environment is put over the defaults. The section checks its values itself, so that a wrong flag is told
    as a wrong key of a YAML file is.
    """

    def construct(**values: Any) -> Section:
        return make_section(section, values, where="command line")

    def constructor() -> Any:
        defaults = section_defaults(section)
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=getattr(defaults, name),
                annotation=Annotated[
                    str | None if _is_mapping(option.annotation) else option.annotation,
                    tyro.conf.arg(
                        help=option.description,
                        metavar=_metavar(option.annotation),
                        help_behavior_hint=hint,
                    ),
                    *((tyro.conf.UseAppendAction,) if get_origin(option.annotation) is list else ()),
                ],
            )
            for name, option in section.model_fields.items()
            if name not in without
        ]
        signed: Any = construct
        signed.__signature__ = inspect.Signature(parameters, return_annotation=section)
        signed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return signed

    return tyro.conf.arg(name="", constructor_factory=constructor)


def _metavar(annotation: Any) -> str | None:
    if annotation == list[str] | None:
        return "NAME"
    return "YAML" if _is_mapping(annotation) else None


def _is_mapping(annotation: Any) -> bool:
    """Whether an option is a mapping, which a flag gives as YAML."""
    return any(get_origin(each) is dict for each in get_args(annotation))
