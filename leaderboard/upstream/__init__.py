"""Another competition's history: its claims, the logs behind them, and its scripts run again."""
