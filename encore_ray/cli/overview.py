"""What `encore-ray --help` shows: a line for each command, which tells more by its own `--help`."""

import re
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

DESCRIPTION = "Score preference pairs under many safety rules on Ray; compose rewards by rating entropy."
HELP, VERSION = ("-h", "--help"), "--version"


def first_sentence(command: type) -> str:
    """What a command does, without what follows a colon or a semicolon."""
    return re.split(r"[.:;](?:\s|$)", " ".join(str(command.__doc__).partition("\n\n")[0].split()))[0]


def show_overview(commands: Mapping[str, type], console: Console) -> None:
    """Print the commands with what each does."""
    grid = Table.grid(padding=(0, 2))
    for name, command in commands.items():
        grid.add_row(f"  {name}", first_sentence(command))
    console.print("usage: encore-ray COMMAND [OPTIONS]\n", markup=False)
    console.print(f"{DESCRIPTION}\n")
    console.print(grid)
    console.print(
        f"\nencore-ray COMMAND --help tells its options. encore-ray {VERSION} tells the version.", markup=False
    )
