"""One module per figure: a function ``draw(rows, history)`` that returns a matplotlib figure."""
