"""Many runs side by side: the leaderboard and the report page."""
