"""Backbones, heads and what a frozen trunk computes."""
