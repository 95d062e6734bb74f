"""Images, labels, splits and episodes."""
