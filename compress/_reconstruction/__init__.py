"""Refits the layers that read removed channels."""
