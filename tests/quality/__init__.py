"""The quality suite itself: its simulations, its judgements, and that its tables say what was counted."""
