"""The chaos suite (`make chaos`): the real platform is broken while jobs run, and what was lost is counted."""
