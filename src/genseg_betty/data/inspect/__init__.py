"""What is looked for in data before anything is trained on them: faults, copies, facts, pictures."""
