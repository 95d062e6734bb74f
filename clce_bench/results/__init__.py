"""What is below ``results/``: checked, tidied, and taken from one machine to another."""
