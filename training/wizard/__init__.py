"""The wizard: one URL and one form per step; what was said so far is a row of the database."""
