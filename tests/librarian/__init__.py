"""What the librarian does, by its real process."""
