"""Stand-ins for what cannot be had here, each a process of its own that speaks the real thing's protocol."""
