"""What a report is made of, and the same as tables for machines."""
