"""A submission's processes: what they see, reach and use, until the last of them is dead."""
