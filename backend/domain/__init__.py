"""Every rule worth testing, as functions of values: no I/O, no clock, no session."""
