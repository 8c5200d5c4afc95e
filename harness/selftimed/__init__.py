"""Scripts that time themselves, run as they are, and the logs that they and others left."""
