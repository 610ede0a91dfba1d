"""Tables of scores as others have them: recognised by their columns, and turned into the form of ours."""
