"""Using what was trained: one image or many through a finished cell's network."""
