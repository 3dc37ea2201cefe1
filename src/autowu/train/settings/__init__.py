"""The trainer's settings: options, the command line, files, recipes."""
