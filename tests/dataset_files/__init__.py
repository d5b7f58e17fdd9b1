"""Datasets on disk: recognition, pages, cleaned copies, statistics, rendering."""
