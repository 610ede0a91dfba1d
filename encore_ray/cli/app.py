"""All commands together: parsing, and the exit code that tells what happened."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from encore_ray.cli.artifacts import Export, Inspect, Rules, Status, Track
from encore_ray.cli.chain import Chain
from encore_ray.cli.compare import Compare
from encore_ray.cli.fit import FitHeads
from encore_ray.cli.jobs import Demo, Run
from encore_ray.cli.passes import Compose, Evaluate, Prepare, Score, Weigh
from encore_ray.cli.rate import Rate
from encore_ray.cli.refine import Refine
from encore_ray.cli.select import Select
from encore_ray.cli.submit import Submit
from encore_ray.cli.train import Train
from encore_ray.errors import EncoreError, Terminated
from encore_ray.redaction import RedactingFormatter, redact

INTERRUPTED = 130

COMMANDS = {
    "demo": Demo,
    "run": Run,
    "chain": Chain,
    "prepare": Prepare,
    "score": Score,
    "rate": Rate,
    "weigh": Weigh,
    "compose": Compose,
    "evaluate": Evaluate,
    "compare": Compare,
    "fit-heads": FitHeads,
    "train": Train,
    "refine": Refine,
    "select": Select,
    "inspect": Inspect,
    "status": Status,
    "track": Track,
    "export": Export,
    "rules": Rules,
    "submit": Submit,
}


def parse(args: Sequence[str]) -> Any:
    """The command that a command line names, with its options; SystemExit where it is wrong, after saying why."""
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="encore-ray",
        description="Score preference pairs under many safety rules on Ray; compose rewards by rating entropy.",
        args=args,
        config=(
            tyro.conf.OmitArgPrefixes,
            tyro.conf.FlagCreatePairsOff,
            tyro.conf.HelptextFromCommentsOff,
            tyro.conf.DisallowNone,
        ),
    )


def main(argv: list[str] | None = None) -> None:
    """Run a command, or tell the version, and exit.

    Codes: 0 done, 2 configuration, 3 data, 4 cluster or model, 130 / 143 interrupted, 1 a bug.
    """
    args = sys.argv[1:] if argv is None else argv
    if args == ["--version"]:
        print(f"encore-ray {version('encore-ray')}")
        sys.exit(0)
    errors = Console(stderr=True)
    handler = RichHandler(console=errors, show_time=False, show_path=False, show_level=False)
    handler.setFormatter(RedactingFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    code = 1
    try:
        parse(args).main(Console())
        code = 0
    except EncoreError as error:
        errors.print(f"[bold red]encore-ray:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        code = error.exit_code
    except KeyboardInterrupt as interrupt:
        code = interrupt.exit_code if isinstance(interrupt, Terminated) else INTERRUPTED
    except BrokenPipeError:  # as under `| head`: what is not read need not be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception:
        sys.stderr.write(redact(traceback.format_exc()))
        errors.print("[bold red]encore-ray:[/] this is a bug in encore-ray; please report it with the lines above.")
    sys.exit(code)
