"""Which images to label next: what a model says of all of them, and what follows from that."""
