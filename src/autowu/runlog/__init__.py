"""What a run leaves behind: `run.json` and `log.jsonl`, read and written."""
