"""Reference of the routes: examples in three languages, and the page of them."""
