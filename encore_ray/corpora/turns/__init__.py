"""What was said by whom: message lists, transcripts, lists stored as text."""
