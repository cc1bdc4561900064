"""Who are you: users, their profiles, and the tokens with which their scripts sign in."""
