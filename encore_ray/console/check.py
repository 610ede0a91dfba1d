"""What a person reads of a job that is checked: a paragraph a thing, as it is found."""

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from encore_ray.check.found import Found

_INDENT = 11


def show_found(found: Found, console: Console) -> None:
    """A row: what was looked at, what was found, and in red what keeps a run from starting."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_INDENT - 1, no_wrap=True)
    grid.add_column(overflow="fold")
    lines = [Text(note) for note in found.notes]
    if found.problem is not None:
        lines.append(Text(str(found.problem), style="red"))
    grid.add_row(Text(found.about, style="bold"), lines[0] if lines else Text("nothing there yet"))
    for line in lines[1:]:
        grid.add_row("", line)
    console.print(grid)
    for number, text in enumerate(found.texts, start=1):
        console.print(Padding(Text(f"{number}. {text}", style="dim"), (0, 0, 0, _INDENT + 2)))
