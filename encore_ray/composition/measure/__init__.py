"""Counting and measuring: whatever merges exactly over any sharding of a corpus."""
