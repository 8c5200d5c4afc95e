"""One module per command: argv becomes typed values here, and results become text or JSON."""
