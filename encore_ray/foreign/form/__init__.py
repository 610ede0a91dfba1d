"""The form of a table made elsewhere: which columns hold its ids and scores, as a person or their names tell."""
