"""One file a command; `cli.main` imports the one that was asked for, and no other."""
