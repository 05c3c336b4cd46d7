"""A leaderboard as a static site: several runs and published figures, each figure with where it comes from."""
