"""What stands around x2paddle."""
