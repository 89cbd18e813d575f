"""The tests, and the helpers that several of them share."""
