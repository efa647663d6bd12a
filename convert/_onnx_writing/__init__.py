"""What is done to the exporter's graph."""
