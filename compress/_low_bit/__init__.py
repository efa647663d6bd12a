"""Weights of one and two bits and powers of two: how they train, and the small integers that are left of them."""
