"""Other hosts over Ray: the one room that imports it, and only once a cluster is joined.

Ray schedules an agent onto every node and tells of its end and its node's. What an agent does is
what the engine does on its own host, by the same code.
"""
