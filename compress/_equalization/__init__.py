"""Finds which channels may be scaled, and by how much."""
