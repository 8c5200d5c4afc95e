"""Boards and plots for the terminal, for Markdown and as files."""
