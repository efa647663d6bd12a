"""What stands around coremltools."""
