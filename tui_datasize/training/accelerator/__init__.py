"""The one door to the accelerator: whatever asks torch about a GPU, or tells it to one, is in this room."""
