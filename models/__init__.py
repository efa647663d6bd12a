"""The zoo: one family a file, one function a model, and a card on each."""
