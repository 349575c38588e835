"""The record: run directories, the claim on them, and frames read from them."""
