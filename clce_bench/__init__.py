"""A reproducible benchmark of losses that fuse contrastive learning with cross-entropy."""

__version__ = "0.1.0"
