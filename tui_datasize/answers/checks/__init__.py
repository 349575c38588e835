"""What an audit checks, and what is said of each problem that it finds."""
