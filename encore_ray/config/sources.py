"""Where a configuration comes from: command line flag > environment > YAML file > default.

A YAML key `weigh: {temperature: 1}` is the flag `--temperature 1` of `encore-ray weigh` and the variable
`ENCORE_RAY_WEIGH_TEMPERATURE=1`.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from encore_ray.config import SECTIONS, InputOptions, JobConfig, Section
from encore_ray.errors import ConfigError, DataError
from encore_ray.files.named import read_named
from encore_ray.files.plain_yaml import NotYaml, parse_yaml
from encore_ray.redaction import redact
from encore_ray.rules import RuleSet
from encore_ray.storage import Folder, absolute, is_remote

ENV_PREFIX = "ENCORE_RAY_"
# A later one wins: of MLflow's two for the experiment it is the name, as in MLflow itself.
STANDARD_ENV = {
    "RAY_ADDRESS": ("cluster", "address", "{}"),
    "MLFLOW_TRACKING_URI": ("tracking", "uri", "{}"),
    "MLFLOW_EXPERIMENT_ID": ("tracking", "experiment", "id:{}"),
    "MLFLOW_EXPERIMENT_NAME": ("tracking", "experiment", "{}"),
}

# Sections whose options hold for all that is made in a run: a single command takes the run's own.
OF_RUN = ("prepare", "weigh", "select", "tracking")

Options = TypeVar("Options", bound=Section)


def read_yaml(path: str | Path) -> Any:
    """The value of a YAML file that a person wrote; ConfigError where it cannot be read."""
    try:
        return parse_yaml(read_named(path, what="the configuration"))
    except NotYaml as error:
        raise ConfigError(f"{path} {error}") from None


def load_config(
    path: str | Path,
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    base: str | None = None,
) -> JobConfig:
    """Read a job's YAML, put environment and flags over it, and check everything at once.

    Args:
        path: YAML file; relative paths in it are taken from its folder.
        flags: values that win over all others; keys as in the YAML, sections as nested mappings.
        environ: defaults to the process's environment.
        base: folder from which its relative paths are taken instead.

    Raises:
        ConfigError: listing every problem found.
    """
    value = read_yaml(path)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping with the keys {', '.join(JobConfig.model_fields)}.")
    # A section whose options are all commented out reads as null.
    value = {key: {} if item is None and key in SECTIONS else item for key, item in value.items()}
    from_yaml = _resolve_paths(value, base=base or str(Path(path).resolve().parent))
    outside = _merge(environment_values(environ), flags or {})
    return _validate(JobConfig, _merge(from_yaml, _resolve_paths(outside, base=os.getcwd())), where=str(path))


def stored_config(run: Folder) -> Mapping[str, Any] | None:
    """The configuration that a run keeps, without credentials; None where there is none, or it is damaged.

    It tells people how results were made, and single commands their `OF_RUN` sections.
    """
    from encore_ray.schema import CONFIG_FILE  # which loads Arrow

    try:
        found = parse_yaml(redact(run.read_file(CONFIG_FILE).decode()))
    except (DataError, UnicodeDecodeError, NotYaml):
        return None
    return found if isinstance(found, Mapping) else None


def make_config(values: Mapping[str, Any]) -> JobConfig:
    """A configuration from Python values instead of a YAML file; the environment is put over defaults only."""
    return _validate(JobConfig, _resolve_paths(_merge(environment_values(), values), base=os.getcwd()), where="job")


def make_section(section: type[Options], values: Mapping[str, Any], *, where: str) -> Options:
    """A section from its options; `where` they come from is named in errors."""
    return _validate(section, values, where=where)


def section_defaults(
    section: type[Options], *, run: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Options:
    """A section's defaults with a run's own options and the environment put over them: what a command starts from.

    Args:
        run: its own options of this section, see `options_of_run`.
    """
    name = section_name(section)
    values = {**(run or {}), **environment_values(environ).get(name, {})}
    where = f"environment, section {name}" if not run else f"configuration of the run and environment, section {name}"
    return make_section(section, values, where=where)


def section_name(section: type[Section]) -> str:
    """What a section is called in a YAML file."""
    return next(key for key, kind in SECTIONS.items() if kind is section)


def options_of_run(section: type[Section], run: Folder) -> dict[str, Any]:
    """The options of a section that a run's results are made by, as far as its configuration tells; {} for others.

    Only of the sections `OF_RUN`: what a model's files may do, and which cluster, is each command's own.
    """
    name = section_name(section)
    own = (stored_config(run) or {}).get(name) if name in OF_RUN else None
    return {key: own[key] for key in section.model_fields if key in own} if isinstance(own, Mapping) else {}


def keep_options(run: Folder, options: Section, *, without: Collection[str] = ()) -> None:
    """Put the options of a command that has ended into the configuration of its run, so that later ones go on by them.

    Args:
        without: options that the command does not have.
    """
    from encore_ray.schema import CONFIG_FILE

    name = section_name(type(options))
    if name not in OF_RUN:
        return
    config = dict(stored_config(run) or {})
    own, usual = dict(config.get(name) or {}), type(options)().model_dump(mode="json")
    asked = {key: value for key, value in options.model_dump(mode="json").items() if key not in without}
    changed = {key: value for key, value in asked.items() if value != own.get(key, usual[key])}
    if changed:
        run.write_atomic(CONFIG_FILE, yaml.safe_dump({**config, name: {**own, **changed}}, sort_keys=False).encode())


def assigned_values(assignments: Iterable[str]) -> dict[str, Any]:
    """Nested values from texts like "weigh.temperature=1"; values are YAML, except those of text options."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        section, dot, option = key.strip().rpartition(".")
        kind = SECTIONS.get(section) if dot else JobConfig
        if not separator and (meant := _meant(key.strip())):
            raise ConfigError(f"{assignment}: expected OPTION=VALUE in one piece, as in --set {meant[0]}=VALUE.")
        if not separator or kind is None:
            raise ConfigError(
                f"{assignment}: expected OPTION=VALUE or SECTION.OPTION=VALUE, as in weigh.temperature=1; sections "
                f"are {', '.join(SECTIONS)}."
            )
        target = values.setdefault(section, {}) if dot else values
        if option in SECTIONS and not dot:
            raise ConfigError(f"{assignment}: {option} is a section; set its options, as in {option}.OPTION=VALUE.")
        if option not in kind.model_fields:
            raise ConfigError(f"{assignment}: {_unknown(key.strip(), kind, text)}")
        target[option] = _parse(text, kind, option, where=assignment)
    return values


def _unknown(key: str, kind: type[BaseModel], text: str) -> str:
    """What to say of an option that is none: which one was likely meant, else which ones there are."""
    if meant := _meant(key):
        return f"unknown option. Did you mean {' or '.join(f'--set {each}={text}' for each in meant)}?"
    return f"unknown option (known: {', '.join(kind.model_fields)})."


def _meant(key: str) -> list[str]:
    """The options of a job's file that a key names: without its section, in another one, or mistyped."""
    options = {f"{name}.{option}": option for name, section in SECTIONS.items() for option in section.model_fields}
    options |= {name: name for name in JobConfig.model_fields.keys() - SECTIONS.keys()}
    if key in options:
        return [key]
    last = key.rpartition(".")[2].replace("-", "_")
    return [each for each, option in options.items() if option == last] or get_close_matches(key, options, n=1)


def environment_values(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Options set by ENCORE_RAY_* variables (values are YAML), and by Ray's and MLflow's own (`STANDARD_ENV`)."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for variable, (section, option, form) in STANDARD_ENV.items():
        if environ.get(variable):
            values.setdefault(section, {})[option] = form.format(environ[variable])
    for section, kind in SECTIONS.items():
        prefix = f"{ENV_PREFIX}{section}_".upper()
        options = {f"{prefix}{option}".upper(): option for option in kind.model_fields}
        for variable in sorted(name for name in environ if name.startswith(prefix)):
            if variable not in options:
                raise ConfigError(f"The variable {variable} sets no option (known: {', '.join(options)}).")
            text = environ[variable]
            values.setdefault(section, {})[options[variable]] = _parse(text, kind, options[variable], where=variable)
    for option in JobConfig.model_fields.keys() - SECTIONS.keys():
        variable = f"{ENV_PREFIX}{option}".upper()
        if variable in environ:
            values[option] = _parse(environ[variable], JobConfig, option, where=variable)
    return values


def resolve_model(model: str, *, base: str | None = None) -> str:
    """A model folder's absolute path when it is one (or looks like one), else the hub id unchanged."""
    candidate = absolute(model, base=base)
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    return candidate if looks_local or (not is_remote(model) and os.path.isdir(candidate)) else model


def read_rules(path: str) -> RuleSet:
    """The rules in a local file or at a URL; ConfigError if they cannot be read, DataError if they are wrong."""
    if not is_remote(path):
        return RuleSet.load(path)
    parent, _, name = path.rpartition("/")
    try:
        return RuleSet.from_yaml(Folder(parent).read_bytes(name), where=path)
    except FileNotFoundError:
        raise ConfigError(f"Cannot read the rules in {path}: no such file.") from None


def _parse(text: str, kind: type[Section], option: str, *, where: str) -> Any:
    if kind.model_fields[option].annotation in (str, str | None):
        return text
    try:
        return parse_yaml(text)
    except NotYaml:
        raise ConfigError(f"{where}: {text!r} is not a YAML value.") from None


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        under = merged.get(key, {})
        if isinstance(value, Mapping):  # a section; what stands there and is none is left for the check to refuse
            merged[key] = _merge(under, value) if isinstance(under, Mapping) else under
        else:
            merged[key] = value
    return merged


def _resolve_paths(values: Mapping[str, Any], *, base: str) -> dict[str, Any]:
    resolved = dict(values)
    for key in ("run", "rules"):
        if resolved.get(key) and isinstance(resolved[key], str):  # an empty text is no path: the check refuses it
            resolved[key] = absolute(resolved[key], base=base)
    for key in ("model", "judge"):
        if resolved.get(key) and isinstance(resolved[key], str):
            resolved[key] = resolve_model(resolved[key], base=base)
    score = resolved.get("score")
    template = score.get("template") if isinstance(score, Mapping) else None
    if isinstance(score, Mapping) and isinstance(template, str) and template.endswith((".jinja", ".jinja2", ".j2")):
        resolved["score"] = {**score, "template": absolute(template, base=base)}
    weigh = resolved.get("weigh")
    if isinstance(weigh, Mapping) and isinstance(weigh.get("ratings"), str) and weigh["ratings"]:
        resolved["weigh"] = {**weigh, "ratings": absolute(weigh["ratings"], base=base)}
    if "inputs" in resolved:
        items = resolved["inputs"] if isinstance(resolved["inputs"], list) else [resolved["inputs"]]
        resolved["inputs"] = [_resolve_input(item, base) for item in items]
    return resolved


def _resolve_input(item: Any, base: str) -> Any:
    if isinstance(item, str):
        return absolute(item, base=base)
    if isinstance(item, dict) and isinstance(item.get("path"), str):
        return {**item, "path": absolute(item["path"], base=base)}
    return item


Model = TypeVar("Model", bound=BaseModel)


def _validate(kind: type[Model], values: Mapping[str, Any], *, where: str) -> Model:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        problems = [_describe(kind, problem) for problem in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(problems) + ".") from None


def _describe(kind: type[BaseModel], problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location) or "job"
    if problem["type"] == "extra_forbidden":
        owner = SECTIONS.get(location[0], kind) if len(location) > 1 else kind
        owner = InputOptions if location[0] == "inputs" and len(location) > 1 else owner
        return f"{name}: unknown key (known: {', '.join(owner.model_fields)})"
    if problem["type"] == "missing":
        return f"{name}: missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        is_named = not location or message.startswith(location[-1])
        return message if is_named else f"{name}: {message}"
    return f"{name}: {message[0].lower()}{message[1:]}, found {problem['input']!r}"
