"""HTTP: the REST interface, the pages and the nodes' door."""
