"""The estimator's parts: what a run consists of, its memory, its time, and settings that cost less."""
