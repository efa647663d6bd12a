"""What runs in Paddle's own environment."""
