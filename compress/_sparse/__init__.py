"""Chooses zeros among single weights and keeps them."""
