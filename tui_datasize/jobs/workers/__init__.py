"""The processes that train: starting, finding and signalling them."""
