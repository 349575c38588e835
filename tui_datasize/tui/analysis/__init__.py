"""The Analysis tab."""
