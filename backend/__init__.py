"""The platform's backend: what stores, decides and speaks to people."""
