"""All weightings side by side on the same pairs."""
