"""Image folders: which files there are, what their headers say, and what a person sees in them."""
