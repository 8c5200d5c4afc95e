"""What happens during a run, how it becomes a record, and where the record stands."""
