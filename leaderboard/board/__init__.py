"""A board and its records, read: from disk, from the index, from local runs."""
