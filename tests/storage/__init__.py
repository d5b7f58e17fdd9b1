"""What lies under the home: archives of strangers, uploads, files."""
