"""The librarian: does chores, each in a process of its own, and may be killed at any moment.

`kinds` says which module does which kind of chore, `running` is what such a module is given, `child` the process of
one chore, `keeper` the process that claims chores and starts those.
"""
