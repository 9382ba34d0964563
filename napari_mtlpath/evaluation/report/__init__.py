"""What judging found, as files: JSON and CSV for programs, Markdown and one HTML page for people."""
