"""Generated images that a run learns from beside the real ones of its subset."""
