"""The command line: arguments and output. What a command needs is imported when it runs."""
