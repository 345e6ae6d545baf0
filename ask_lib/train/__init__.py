"""The training loop that every method shares."""
