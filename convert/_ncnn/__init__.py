"""What stands around pnnx."""
