"""One module a command, in rooms as --help groups them: a class whose fields are the flags, its docstring the help."""
