"""Splits for training and for testing that are inputs of one job, which a folder of both makes them."""

import re
from collections import Counter
from collections.abc import Sequence

# As the hub and `datasets` name files and folders of a split, and what each is called here.
_NAMED = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval", "evaluation"), "validation"),
}


def splits_together(uris: Sequence[str]) -> str | None:
    """What is said where files named for different splits are read together; None where there is one split at most.

    Args:
        uris: of all files.
    """
    named = [{_NAMED[word] for word in re.split(r"[^a-z]+", uri.lower()) if word in _NAMED} for uri in uris]
    shared = set.intersection(*named) if named else set()  # by folders above all of them
    found = Counter(split for splits in named for split in splits - shared)
    if len(found) < 2:
        return None
    counted = " and ".join(f"{split} ({number:,} file{'s' * (number > 1)})" for split, number in sorted(found.items()))
    return f"{counted} are read together: where that is not meant, name the files of one split"
