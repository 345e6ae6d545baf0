"""What makes results/: one command each, resumable; nothing imports it but tests."""
