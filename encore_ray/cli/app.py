"""All commands together: parsing, and the exit code that tells what happened."""

import contextlib
import io
import logging
import os
import sys
import traceback
from importlib.metadata import version

from rich.logging import RichHandler
from rich.markup import escape

from encore_ray.cli.chain import Chain
from encore_ray.cli.overview import HELP, VERSION, show_overview
from encore_ray.cli.parsing import COMMANDS, Command, parse
from encore_ray.console.terminal import Terminal
from encore_ray.engine.process.ending import end_process
from encore_ray.errors import ClusterError, EncoreError, Terminated
from encore_ray.files.proxies import spare_loopback
from encore_ray.redaction import RedactingFormatter, redact
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
    if args == [VERSION]:
        print(f"encore-ray {version('encore-ray')}")
        sys.exit(0)
    if args[:1] and args[0] in HELP:
        show_overview(ALL_COMMANDS, Terminal())
        sys.exit(0)
    spare_loopback()
    errors = Terminal(stderr=True)
    handler = RichHandler(console=errors, show_time=False, show_path=False, show_level=False)
    handler.setFormatter(RedactingFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    code = 1
    try:
        parse(args, ALL_COMMANDS).main(Terminal())
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
        sys.stderr.write(visible_lines(redact(traceback.format_exc())))
        errors.print("[bold red]encore-ray:[/] this is a bug in encore-ray; please report it with the lines above.")
    sys.exit(code)


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
