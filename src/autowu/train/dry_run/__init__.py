"""`autowu train --dry-run`: what a run would do, and how much memory it would take."""
