"""Tokenizers that know nothing: transformers makes an empty one where a file is missing, and says no word.

Of several classes it then encodes every text as no token at all, or as unknown ones: every conversation would get the
same score. A text is sent through, and must come back.
"""

import re
from pathlib import Path
from typing import Any

from encore_ray.errors import ModelError
from encore_ray.models.files.foreign import foreign

PROBE = "Hello, how are you? I have 12 apples and 3 pears."
_FILES = ("tokenizer.json", "vocab.json and merges.txt", "tokenizer.model", "vocab.txt")


def check_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Make sure that a tokenizer knows text.

    Args:
        tokenizer: a transformers tokenizer, as loaded.
        folder: of the model, for what is missing in it.

    Raises:
        ModelError: a text becomes nothing, or unknown tokens; names the file that is missing.
    """
    with foreign(folder, "tokenizer"):
        ids = tokenizer(PROBE, add_special_tokens=False, verbose=False)["input_ids"]
        back = tokenizer.decode(ids)
    known = [each for each in ids if each != tokenizer.unk_token_id]
    if known and _is_like(back):
        return
    became = "no token at all" if not ids else "unknown tokens alone" if not known else repr(back[:60])
    raise ModelError(
        f"The tokenizer of the model in {folder} knows no text: {PROBE[:19]!r} becomes {became}. {_missing(folder)} "
        "Without it transformers makes an empty one, and every conversation would be the same."
    )


def _is_like(back: str) -> bool:
    """Whether at least half of the words came back; case, accents and spaces may be lost."""
    words = re.findall(r"\w+", PROBE.casefold())
    text = re.sub(r"\W+", "", back.casefold())
    return sum(word in text for word in words) * 2 >= len(words)


def _missing(folder: Path) -> str:
    present = [files for files in _FILES if all((folder / file).exists() for file in files.split(" and "))]
    if not present:
        return (
            f"Its vocabulary is not there: put {_FILES[0]} (or {', '.join(_FILES[1:])}) of the model into the folder."
        )
    return (
        f"{present[0]} does not fit the class in tokenizer_config.json: put {_FILES[0]} of the model into the folder."
    )


def refuse_tokens(tokenizer: Any, ids: list[int], num_rows: int) -> ModelError:
    """For tokens that a tokenizer gives and the embeddings do not have."""
    names = ", ".join(f"{tokenizer.convert_ids_to_tokens(each)} ({each})" for each in ids[:8])
    return ModelError(
        f"The tokenizer gives tokens beyond the {num_rows:,} embeddings of the model: {names}. It belongs to another "
        "model, or tokens were added after training: give the tokenizer that the model was trained with."
    )
