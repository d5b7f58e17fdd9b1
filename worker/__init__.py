"""The GPU side: supervises LLaMA-Factory runs and speaks to the backend over HTTP only."""
