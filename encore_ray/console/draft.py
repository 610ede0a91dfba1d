"""What a person reads of files that were drafted."""

import os
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from encore_ray.drafts.files import Draft


def show_draft(draft: "Draft", folder: str, console: Console) -> None:
    """What was found and guessed, and where the files are."""
    for what, notes in (("found", draft.found), ("guessed", draft.guessed)):
        for note in notes:
            console.print(f"{what}: {note}", soft_wrap=True, highlight=False, markup=False)
    for name in draft.files:
        console.print(f"wrote {os.path.join(folder, name)}", soft_wrap=True, highlight=False, markup=False)
