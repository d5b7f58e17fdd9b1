"""A cluster in fast motion: a public-shaped trace of jobs under the platform's scheduler and under simple rules."""
