"""What every command shows, and where: flags of all of them, and how their results get out."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from rich.console import Console

from encore_ray.cli.flags import flag, hint
from encore_ray.console.ending import Ending, show_result, show_steps
from encore_ray.console.terminal import Terminal
from encore_ray.errors import ConfigError
from encore_ray.redaction import RedactingFormatter

OURS = "encore_ray"  # the logger of all modules of ours


def _switch(short: str) -> Any:
    """Marks a flag without a value, which has a short name too."""
    return tyro.conf.arg(aliases=[short], help_behavior_hint=hint)


@dataclass(frozen=True, kw_only=True)
class Screen:
    json: Annotated[bool, flag()] = False
    """Write the result to stdout as one JSON document, and all else to stderr."""
    quiet: Annotated[bool, _switch("-q")] = False
    """Say nothing but warnings and errors."""
    verbose: Annotated[bool, _switch("-v")] = False
    """Say in detail what is done, with times, and where an error comes from."""

    def check(self) -> None:
        """Raise ConfigError for what does not go together."""
        if self.quiet and self.verbose:
            raise ConfigError("--quiet and --verbose exclude each other.")

    @property
    def console(self) -> Terminal:
        """Where the command shows its progress and its tables."""
        return Terminal(stderr=self.json, quiet=self.quiet)

    @contextlib.contextmanager
    def logs(self, handler: logging.Handler) -> Iterator[None]:
        """Have log records told as far as is asked for."""
        if not self.verbose:
            yield
            return
        handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        levels = {logging.getLogger(): logging.INFO, logging.getLogger(OURS): logging.DEBUG}
        before = {logger: logger.level for logger in levels}
        try:
            for logger, level in levels.items():
                logger.setLevel(level)
            yield
        finally:
            for logger, level in before.items():
                logger.setLevel(level)

    def stdout(self) -> contextlib.AbstractContextManager[Any]:
        """While it lasts, nothing but the document gets to stdout, whoever prints."""
        return contextlib.redirect_stdout(sys.stderr) if self.json else contextlib.nullcontext()

    def show(self, ending: Ending, name: str, console: Console) -> None:
        """Say how a command ended.

        Args:
            name: of the command.
            console: where it has shown the rest.
        """
        document = ending.to_json(name) if self.json else ending.document
        if document is not None:
            sys.stdout.write(document)
            sys.stdout.flush()
            console = Terminal(stderr=True, quiet=self.quiet)
        if self.quiet:
            errors = Terminal(stderr=True)
            for warning in ending.warnings:
                errors.print(f"! {warning}", highlight=False, markup=False, soft_wrap=True)
        if ending.error is not None:
            raise ending.error
        show_result(ending, console)
        show_steps(ending, console)


ScreenFlags = Annotated[Screen, tyro.conf.arg(name="output")]
