"""Accounts: users, their profiles, their passwords, and the tokens of their scripts."""
