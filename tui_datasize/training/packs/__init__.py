"""Packs: several runs trained by one process, each as if alone."""
