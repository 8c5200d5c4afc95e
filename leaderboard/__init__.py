"""What the world sees: tables, charts, the web site, imported history."""
