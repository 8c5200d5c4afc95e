"""One module per command, as in harness/cli."""
