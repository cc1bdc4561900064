"""What all APIs of the web share: problem details and answers in JSON."""
