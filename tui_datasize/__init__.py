"""How much data is enough: training-size sweeps, queued, watched and analysed in a terminal."""

__version__ = "0.1.0"
