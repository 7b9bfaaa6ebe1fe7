"""The report of a machine: its steps, how each is bounded, its file, its figures and its page."""
