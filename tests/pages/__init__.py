"""The code that pages and docstrings show is code that runs."""
