"""Looking at the project off the screen's thread: frozen snapshots and what they are built from."""
