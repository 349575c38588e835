"""The process that decides: which job starts where, what its end means."""
