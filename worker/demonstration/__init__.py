"""The demonstration's base model and data, drawn and trained on the machine that runs it; nothing is downloaded."""
