"""What the checker says of a corpus of datasets against what real LLaMA-Factory loads of them."""
