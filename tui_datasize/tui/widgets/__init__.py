"""Widgets and text that every tab is made of."""
