"""What was found of one thing that a job needs: sentences, and the error that a run would end with."""

from collections.abc import Iterator
from dataclasses import dataclass

from encore_ray.errors import EncoreError


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        about: what was looked at, for people.
        notes: sentences without an end.
        problem: what `run` is refused for.
        texts: what the model reads, to be shown as it is.
    """

    about: str
    notes: tuple[str, ...] = ()
    problem: EncoreError | None = None
    texts: tuple[str, ...] = ()


def find(about: str, notes: Iterator[str]) -> Found:
    """Look, note by note; a problem ends it and leaves the notes before it."""
    said: list[str] = []
    try:
        for note in notes:
            said.append(note)  # noqa: PERF402  those before an error are kept
    except EncoreError as error:
        return Found(about, tuple(said), error)
    return Found(about, tuple(said))


def all_problems(found: list[Found], job: str) -> EncoreError | None:
    """One error with all problems, each once, whose exit code is that of the first; None where there is none."""
    told = {str(each.problem): each for each in reversed(found)}
    problems = [(each.about, each.problem) for each in found if each.problem and told[str(each.problem)] is each]
    if not problems:
        return None
    first = problems[0][1]
    if len(problems) == 1:
        return type(first)(f"{job} is not ready: {problems[0][0]}: {first}")
    listed = "\n".join(f"{number}. {about}: {each}" for number, (about, each) in enumerate(problems, start=1))
    return type(first)(f"{job} is not ready, for {len(problems)} reasons:\n{listed}")
