"""From files of any layout to canonical pairs."""
