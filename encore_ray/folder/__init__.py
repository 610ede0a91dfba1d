"""The contract of a run folder, free of Ray: units, attempts, commits, tables, provenance, status."""
