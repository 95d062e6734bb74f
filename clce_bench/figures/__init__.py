"""One module per kind of figure: a function ``draw(source)`` that returns a drawing, its data and its caption."""
