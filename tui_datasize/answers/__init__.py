"""What the record means: one question a file, each answered by `ask(record, asked) -> Answer`."""
