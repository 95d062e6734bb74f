"""Which jobs there are, what is out of date, and why."""
