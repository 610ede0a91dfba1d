"""What `encore-ray --help` shows: all commands on one screen, each of which tells more by its own `--help`."""

import re
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

DESCRIPTION = "Score pairs under many safety rules on Ray; compose rewards by rating entropy."
HELP, VERSION, COMPLETION = ("-h", "--help"), "--version", "--completion"

# By what they are for: every command with what it does in a few words.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "Begin": {
        "demo": "a job on made-up data",
        "init": "draft a job's files",
        "check": "is a job ready to run",
        "doctor": "look at this machine",
    },
    "Whole jobs": {
        "run": "from corpus to report",
        "chain": "several commands",
        "submit": "on another cluster",
        "status": "how far a run is",
    },
    "Step by step": {
        "prepare": "corpora to pairs",
        "score": "by a reward model",
        "rate": "by a language model",
        "weigh": "rules by entropy",
        "compose": "reward each response",
        "evaluate": "count right labels",
        "compare": "which weights to use",
    },
    "Learn": {
        "fit-heads": "heads without a GPU",
        "train": "a model's weights",
        "refine": "rewards by energies",
        "select": "rules for each pair",
    },
    "Look and take": {
        "report": "a page of a run",
        "inspect": "explain any result",
        "export": "a trainer's dataset",
        "rules": "rules to start from",
        "track": "send a run to MLflow",
    },
}


def first_sentence(command: type) -> str:
    """What a command does, without what follows a colon or a semicolon."""
    return re.split(r"[.:;](?:\s|$)", " ".join(str(command.__doc__).partition("\n\n")[0].split()))[0]


def show_overview(console: Console) -> None:
    """Print the commands, two a line, with what each does."""
    grid = Table.grid(padding=(0, 1))
    for title, commands in GROUPS.items():
        cells = [cell for command in commands.items() for cell in command]
        for at in range(0, len(cells), 4):
            grid.add_row(f"{'' if at else title} ", *cells[at : at + 4])
    console.print(f"usage: encore-ray COMMAND [OPTIONS]\n\n{DESCRIPTION}\n", markup=False, soft_wrap=True)
    console.print(grid)
    console.print(
        f"\nCOMMAND --help tells its options, {VERSION} what a bug report needs.\n"
        f'eval "$(encore-ray {COMPLETION} bash)" completes what you type; also zsh, fish.',
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
