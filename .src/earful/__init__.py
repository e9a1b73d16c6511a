"""Speech and audio classification that a team can train, trust and serve itself."""
