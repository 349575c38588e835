"""What is to run and how it stands: jobs, their order and commands, in a database."""
