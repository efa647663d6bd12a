"""What stands around MNN's own converter."""
