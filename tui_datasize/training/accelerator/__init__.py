"""The one door to the accelerator: whatever asks torch about a card, or tells it to one, is in this room."""
