"""The files of a corpus, and their rows one at a time."""
