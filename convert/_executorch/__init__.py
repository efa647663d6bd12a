"""What stands around ExecuTorch's lowering to the XNNPACK delegate."""
