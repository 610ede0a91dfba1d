"""The rules that count for one pair."""
