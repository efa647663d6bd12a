"""Plans, observes and inserts 8-bit numbers."""
