"""Answers on paper: printers that compute nothing."""
