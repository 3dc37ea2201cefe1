"""What must never happen, each shown by one test that counts how often it tried: docs/reliability.md."""
