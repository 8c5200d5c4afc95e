"""What is on disk and on the wire: runs, tracks, submissions, messages, and the names of their files."""
