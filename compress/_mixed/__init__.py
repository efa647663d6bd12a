"""Chooses how many bits each layer gets."""
