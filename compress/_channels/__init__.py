"""Which channels of a network can go, which should, and the network without them."""
