"""What is broken on purpose: provider, database, disk, processes; and what is true afterwards.

What runs in memory runs with all other tests. What needs gunicorn and a PostgreSQL server of its
own is marked ``faults``; without them it is skipped with the reason, but with CI=true this is a
failure. The environment runs all of it and compares what it saw with the page of the docs::

    tox run -e faults

``make faults`` writes the tables of that page anew.
"""
