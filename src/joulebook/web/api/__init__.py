"""The API itself: its root, parameters, answers and problem details. It knows no app."""
