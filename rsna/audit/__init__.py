"""What a set is made of, looked at before anyone trains: issues, duplicates, contact sheets."""
