"""Of autowu.reproduce."""
