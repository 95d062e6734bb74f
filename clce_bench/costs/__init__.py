"""What cells will take, and what they took."""
