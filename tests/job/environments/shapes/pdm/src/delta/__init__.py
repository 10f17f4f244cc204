arms = 5
