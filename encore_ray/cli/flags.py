"""The configuration's options as command line flags: each section once, with its help, defaults and checks."""

import contextlib
import inspect
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Annotated, Any, get_args, get_origin

import tyro

from encore_ray.config import PrepareOptions, Section, WeighOptions
from encore_ray.config.sources import make_section, options_of_run, section_defaults, section_name
from encore_ray.config.weighing import OF_ONE_SCHEME, OF_SOME_SCHEMES, not_taken
from encore_ray.errors import ConfigError
from encore_ray.shell import flag_words
from encore_ray.storage import Folder, absolute


def hint(default: str) -> str:
    """What help says of a default: nothing of None, False and an empty list, which mean that a flag is not given."""
    return "" if default in ("None", "False", "") else f"(default: {default})"


def flag(metavar: str | None = None) -> Any:
    """Marks a command's own flag, so that help shows it as it shows an option's."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint)


# The run that the command line names, whose options its flags start from.
_RUN: ContextVar[str | None] = ContextVar("run", default=None)


@contextlib.contextmanager
def of_run(args: Sequence[str]) -> Iterator[None]:
    """While it lasts, options start from those of the run that a command line names by --run."""
    named = [after for flag, after in itertools.pairwise(args) if flag == "--run"]
    named += [arg.removeprefix("--run=") for arg in args if arg.startswith("--run=")]
    token = _RUN.set(named[-1] if named else None)
    try:
        yield
    finally:
        _RUN.reset(token)


PathFlag = Annotated[str, flag("PATH")]
OptionalPathFlag = Annotated[str | None, flag("PATH")]
Switch = Annotated[bool, flag()]


def named_columns(assignments: Sequence[str], *, example: str) -> dict[str, str]:
    """What stands in which column, of --map; ConfigError for what is no NAME=COLUMN."""
    pairs = [each.partition("=") for each in assignments]
    if wrong := [name for name, _, column in pairs if not column]:
        raise ConfigError(f"--map {wrong[0]}: expected NAME=COLUMN, as {example}.")
    return {name: column for name, _, column in pairs}


def default_bad_fraction() -> float:
    """That of every pass over pairs, as the environment sets it: prepare.max_bad_fraction."""
    return section_defaults(PrepareOptions).max_bad_fraction


def check_max_bad_fraction(share: float) -> None:
    """Raise ConfigError where --max-bad-fraction is no share: a pass would look at it when all is done."""
    if not 0 <= share <= 1:
        raise ConfigError(f"--max-bad-fraction must lie from 0 to 1, found {share}.")


def section_flags(section: type[Section], *, without: Collection[str] = ()) -> Any:
    """Marks a field of a command as a section of the configuration: one flag an option, without a prefix, and a group
    of its name in the help.

    Options named in `without` make no sense for the command: they have no flag and stay as the run has them. The run's
    own options are put over the defaults, see `of_run`, and over these the environment. The section checks its values
    itself, so that a wrong flag is told as a wrong key of a YAML file is.
    """

    def constructor() -> Any:
        run = _RUN.get()
        own = options_of_run(section, Folder(absolute(run))) if run else {}
        defaults = section_defaults(section, run=own)

        def construct(**values: Any) -> Section:
            unasked = {name: own[name] for name in without if name in own}
            return make_section(section, _fitting(section, {**unasked, **values}, own), where="command line")

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

    return tyro.conf.arg(name=section_name(section).replace("_", "-"), constructor_factory=constructor)


def option_words(options: Section, *, without: Collection[str] = ()) -> list[str]:
    """Options that a command was given, as one would type them for another command that takes them too.

    Args:
        without: options that the other command does not have.
    """
    usual = section_defaults(type(options))
    given = {name: value for name, value in options if name not in without and value != getattr(usual, name)}
    return [word for name, value in given.items() for word in flag_words(name, value)]


def weigh_words(options: WeighOptions, scheme: str) -> list[str]:
    """The same of options of a comparison, for a `weigh` by one of its schemes: without those that it does not take."""
    return option_words(options, without=(*OF_ONE_SCHEME, *not_taken(scheme)))


def _fitting(section: type[Section], values: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The options without those of the run that only its scheme takes, where another scheme is asked for."""
    if "scheme" not in own or values["scheme"] == own["scheme"]:
        return values
    plain = section_defaults(section)
    kept = {name for name in OF_SOME_SCHEMES if name in own and values[name] == own[name]}
    return {name: getattr(plain, name) if name in kept else value for name, value in values.items()}


def _metavar(annotation: Any) -> str | None:
    if annotation == list[str] | None:
        return "NAME"
    return "YAML" if _is_mapping(annotation) else None


def _is_mapping(annotation: Any) -> bool:
    """Whether an option is a mapping, which a flag gives as YAML."""
    return any(get_origin(each) is dict for each in get_args(annotation))
