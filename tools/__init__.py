"""The book's pipeline: make the environment, execute the notebooks, render the pages, check them."""
