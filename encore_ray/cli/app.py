"""All commands together: parsing, and the exit code that tells what happened."""

import contextlib
import io
import logging
import os
import sys
import traceback

from rich.logging import RichHandler
from rich.markup import escape

from encore_ray.cli.chain import Chain
from encore_ray.cli.overview import COMPLETION, HELP, VERSION, show_overview
from encore_ray.cli.parsing import COMMANDS, SHELLS, Command, parse, print_completion
from encore_ray.console.terminal import Terminal
from encore_ray.console.versions import versions
from encore_ray.engine.process.ending import end_process
from encore_ray.errors import ClusterError, ConfigError, EncoreError, Terminated
from encore_ray.files.proxies import spare_loopback
from encore_ray.redaction import RedactingFormatter, redact
from encore_ray.shell import called_as
from encore_ray.visible import visible_lines

INTERRUPTED = 130

_FIRST = {name: COMMANDS[name] for name in ("demo", "run", "check", "init")}
ALL_COMMANDS: dict[str, type[Command]] = {**_FIRST, "chain": Chain, **COMMANDS}


def main(argv: list[str] | None = None) -> None:
    """Run a command, or tell the version, and exit.

    Codes: 0 done, 2 configuration, 3 data, 4 cluster or model, 129 / 130 / 143 interrupted, 1 a bug.
    """
    _write_any_text()
    args = sys.argv[1:] if argv is None else argv
    spare_loopback()
    errors = Terminal(stderr=True)
    handler = RichHandler(console=errors, show_time=False, show_path=False, show_level=False)
    handler.setFormatter(RedactingFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    code = 1
    verbose = False
    try:
        if args and args[0] in (*HELP, VERSION, COMPLETION):
            _tell_of_itself(args)
            sys.exit(0)
        command = parse(args, ALL_COMMANDS)
        command.screen.check()
        verbose = command.screen.verbose
        with called_as(args):
            _carry_out(command, args[0], handler)
        code = 0
    except EncoreError as error:
        if verbose:
            sys.stderr.write(visible_lines(redact(traceback.format_exc())))
        errors.print(f"[bold red]encore-ray:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        code = error.exit_code
    except KeyboardInterrupt as interrupt:
        code = interrupt.exit_code if isinstance(interrupt, Terminated) else INTERRUPTED
    except BrokenPipeError:  # as under `| head`: what is not read need not be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception:
        sys.stderr.write(visible_lines(redact(traceback.format_exc())))
        errors.print("[bold red]encore-ray:[/] this is a bug in encore-ray; please report it with the lines above.")
    sys.exit(code)


def _carry_out(command: Command, name: str, handler: logging.Handler) -> None:
    """Do a command, and say how it ended."""
    screen = command.screen
    with screen.logs(handler):
        with screen.stdout():
            console = screen.console
            ending = command.main(console)
        screen.show(ending, name, console)


def _tell_of_itself(args: list[str]) -> None:
    """Print the overview, the version or a shell's completion; ConfigError for a shell that is not known."""
    terminal = Terminal()
    if args[0] in HELP:
        show_overview(terminal)
    elif args[0] == VERSION:
        own, *others = versions()
        terminal.print(
            f"{own.name} {own.value}", *map(str, others), sep="\n", soft_wrap=True, highlight=False, markup=False
        )
    elif len(args) == 2 and args[1] in SHELLS:
        print_completion(args[1], ALL_COMMANDS)
    else:
        raise ConfigError(f"encore-ray {COMPLETION} SHELL: name yours, one of {', '.join(SHELLS)}.")


def program() -> None:
    """`main` as a process of its own, whose exit code is kept.

    Where the cluster failed, what Ray still runs in this process may crash when the interpreter is taken down: a node
    without memory left a segmentation fault in place of 4. All is closed by then, so nothing is taken down.
    """
    try:
        main()
    except SystemExit as ended:
        if ended.code == ClusterError.exit_code:
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError):  # nobody reads it any more
                    stream.flush()
            end_process()
        raise


def _write_any_text() -> None:
    """Let no character end a command where the locale's encoding lacks it: a terminal shows ?, all else gets UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="replace")
        else:
            sys.stdout.reconfigure(encoding="utf-8")
