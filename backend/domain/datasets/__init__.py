"""What a dataset is to LLaMA-Factory 0.9.5: its mapping, the rules for its rows, and what may be wrong with it."""
