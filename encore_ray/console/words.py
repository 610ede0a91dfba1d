"""Numbers with their words."""


def plural(number: int, word: str) -> str:
    """A number with its word, as 1 rule or 1,024 pairs."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def be(number: int) -> str:
    """The verb of so many."""
    return "is" if number == 1 else "are"
