"""The command line: arguments and output; what is behind a command is loaded when it is used."""
