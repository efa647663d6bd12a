"""Finds few values for many weights, and keeps them few."""
