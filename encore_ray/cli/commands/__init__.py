"""One module a family of commands: a class a command, its fields are the flags, its docstring is the help."""
