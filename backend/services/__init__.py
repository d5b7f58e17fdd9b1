"""What the platform does, as functions that take a session first and never commit."""
