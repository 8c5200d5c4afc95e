"""The operating system: processes, signals, the clock, files that are not to be trusted."""
