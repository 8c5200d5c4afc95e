"""One refereed run: phases, clock, messages, and the record of whatever became of it."""
