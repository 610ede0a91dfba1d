"""From rows to units of canonical pairs, and what could not be used."""
