"""What stays: records, verdicts, challenges and signatures, derived again at will, and where they stand."""
