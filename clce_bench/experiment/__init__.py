"""What an experiment file may say, and which cells that makes."""
